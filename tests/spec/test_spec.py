"""The spec: what it holds, and every problem with its line."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hotdesk.errors import SpecError
from hotdesk.lock import Lock
from hotdesk.spec import Spec, explain_stale, parse_spec, read_spec, starter_spec

DESK = '[desk]\nname = "my-desk"\npython = "3.13"\nbase = "debian:trixie"\n'
TEMPLATES = Path(__file__).parent.parent.parent / "src" / "hotdesk" / "templates"


def problems(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_spec(text)
    return str(caught.value)


def test_a_spec_without_variants_has_one() -> None:
    spec = parse_spec(DESK + '[packages]\npypi = ["numpy"]\n')

    assert list(spec.variants) == ["default"]
    assert spec.pypi == ("numpy",)
    assert spec.port == 8888


def test_the_template_is_a_spec_of_two_variants() -> None:
    spec = read_spec(TEMPLATES / "sdcnd-term1" / "hotdesk.toml")

    assert {"keras", "moviepy", "scikit-image"} <= set(spec.pypi)
    assert spec.variants["gpu"].gpu
    assert spec.ports == {"simulator": 4567, "tensorboard": 6006}
    assert any(text.startswith("tensorflow-cpu") for text in spec.variants["cpu"].pypi)


def test_every_problem_is_told_at_once_with_its_line() -> None:
    text = """\
[desk]
nam = "x"
name = "Bad Name"
python = 3
base = "debian:trixi"
platforms = ["linux/amd64", "linux/arm"]
[packages]
pypi = [
  "numpy", # a comment
  "Numpy<2",
  "foo @ https://example.org/x",
  3, "foo=1",
]
debian = ["libfoo=1", "Foo"]
[variants]
x = {pypi = ["numpy"], gpu = "no"}
y.pypi = 4
[jupyter]
port = true
[checks]
imports = ["import x"]
[extra]
"""
    told = problems(text)

    for line, words in [
        (2, "unknown key `nam` in `[desk]`; did you mean `name`?"),
        (3, "`Bad Name` cannot be the name of a desk"),
        (4, "`desk.python` must be a string, not a whole number"),
        (5, "no base `debian:trixi`; did you mean `debian:trixie`?"),
        (6, "no platform `linux/arm`; did you mean `linux/arm64`?"),
        (10, "`numpy` is listed twice"),
        (11, "a lock names no host"),
        (12, "`packages.pypi` must hold strings, not a whole number"),
        (12, "`foo=1` is not a requirement"),
        (14, "`libfoo=1` is not the name of a Debian package; write `libfoo`"),
        (14, "did you mean `foo`?"),
        (16, "`numpy` is in `[packages] pypi` already"),
        (16, "`variants.x.gpu` must be true or false"),
        (17, "`variants.y.pypi` must be an array of strings"),
        (19, "`jupyter.port` must be a whole number, not true or false"),
        (21, "`import x` is not a module"),
        (22, "unknown key `extra`"),
    ]:
        assert any(one.startswith(f"  line {line}: ") and words in one for one in told.splitlines()), (
            f"{line}: {words}\n{told}"
        )
    assert "17 problems" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: `[desk]` is missing"),
        ("[desk]\nname = 'a'\n", "`desk.python` is missing"),
        (DESK + "[jupyter]\nport = 70000\n", "line 6: 70000 is not a port"),
        (DESK + "[ports]\nsimulator = 0\n", "line 6: 0 is not a port"),
        (DESK + "[ports]\nSim = 4567\n", "line 6: `Sim` cannot be the name of a port"),
        (DESK + "[ports]\na = 8888\n", "line 6: 8888 is Jupyter's own port"),
        (DESK + "[jupyter]\nport = 9000\n[ports]\na = 9000\n", "line 8: 9000 is Jupyter's own port"),
        (DESK + "[ports]\na = 4567\nb = 4567\n", "line 7: 4567 is the port of `a` already"),
        (DESK + '[checks]\nnotebooks = ["a.py"]\n', "line 6: `a.py` is not the name of a notebook"),
        (DESK + '[checks]\nnotebooks = ["../a.ipynb"]\n', "line 6: `../a.ipynb` is not in the project"),
        (DESK + '[checks]\nnotebooks = ["/a.ipynb"]\n', "line 6: `/a.ipynb` is not in the project"),
        (DESK.replace("3.13", "3.11"), 'line 3: `debian:trixie` has no Python "3.11"'),
        (DESK + "platforms = []\n", "line 5: `desk.platforms` is empty"),
        (DESK + "[packages\n", "line 5: this is not TOML"),
        (DESK + "x = " + "[" * 9999, "nested too deep"),
        (DESK + "name = 'b'\n", "line 5: this is not TOML: cannot overwrite a value"),
        (DESK + '[packages]\npypi = ["a"\n', "this is not TOML"),
        (DESK + "[variants.A]\n", "line 5: `A` cannot be the name of a variant"),
        (DESK.replace("debian:trixie", "oci:x"), "names no registry"),
    ],
)
def test_a_problem_is_told_with_its_line(text: str, told: str) -> None:
    assert told in problems(text)


def test_a_file_that_is_not_text_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "hotdesk.toml"
    path.write_bytes(DESK.encode() + b'description = "\xff"\n')

    with pytest.raises(SpecError, match="line 5: this is not UTF-8"):
        read_spec(path)


def test_one_package_with_two_markers_is_no_duplicate() -> None:
    spec = parse_spec(
        DESK
        + "[packages]\npypi = [\"a<2; platform_machine == 'x86_64'\", \"a; platform_machine != 'x86_64'\"]\n"
    )

    assert len(spec.pypi) == 2


def test_blanks_order_line_ends_and_spelling_do_not_change_the_inputs() -> None:
    one = parse_spec(
        DESK + '[packages]\npypi = ["Flask_SocketIO", "numpy >=1, <3"]\n[checks]\nimports = ["x"]\n'
    )
    text = (
        DESK + '[packages]\npypi = [\n "numpy<3,>=1",\n "flask-socketio", # why\n]\n[jupyter]\nport = 1234\n'
    )
    other = parse_spec("\ufeff" + text.replace("\n", "\r\n"))

    assert one.inputs() == other.inputs()


def lock_of(spec: Spec) -> Lock:
    return Lock(spec.inputs(), "20260101T000000Z", {})


def test_a_fresh_lock_needs_no_explanation() -> None:
    spec = parse_spec(DESK)

    assert explain_stale(lock_of(spec), spec) is None


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("", '[packages]\npypi = ["torch"]', "`torch` was added to `[packages] pypi`"),
        ('packages.pypi = ["a<2"]', 'packages.pypi = ["a"]', "`a<2` was changed to `a` in `[packages] pypi`"),
        ('[variants.c]\ndebian = ["git"]', "[variants.c]", "`git` was removed from `[variants.c] debian`"),
        ("[variants.c]", "[variants.d]", "the variant `c` was removed; the variant `d` was added"),
        ("", 'platforms = ["linux/arm64"]', "`linux/arm64` was added to `[desk] platforms`"),
    ],
)
def test_a_stale_lock_is_explained_by_what_changed(before: str, after: str, told: str) -> None:
    old, new = (
        parse_spec(f"{change}\n{DESK}" if "packages." in change else DESK + change)
        for change in (before, after)
    )

    assert explain_stale(lock_of(old), new) == told


def test_another_python_is_explained() -> None:
    spec = parse_spec(DESK)
    old = replace(spec.inputs(), python="3.11", base="debian:bookworm")

    told = explain_stale(Lock(old, "20260101T000000Z", {}), spec)

    assert told is not None
    assert "`python` was changed from `3.11` to `3.13`" in told


@pytest.mark.parametrize("folder", ["My Course", "x" * 80, "...", "ünï", "a"])
def test_the_first_spec_is_valid_for_any_folder(folder: str) -> None:
    assert parse_spec(starter_spec(folder)).pypi == ("jupyterlab", "pip")


def test_reading_the_template_imports_nothing_slow() -> None:
    code = (
        "import sys; from pathlib import Path; from hotdesk.spec import read_spec;"
        f"read_spec(Path({str(TEMPLATES / 'sdcnd-term1' / 'hotdesk.toml')!r}));"
        "print([name for name in ('packaging', 'tomlkit', 'difflib', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


ON_IMAGE = '[desk]\nname = "x"\npython = "3.13"\nbase = "oci:registry.example:5000/team/base:1"\n'


def test_a_desk_may_be_built_on_an_image() -> None:
    spec = parse_spec(ON_IMAGE)

    assert spec.base_reference == "registry.example:5000/team/base:1"
    assert parse_spec(DESK).base_reference == ""


def test_a_lock_learns_which_image_and_not_which_registry() -> None:
    inputs = parse_spec(ON_IMAGE).inputs()

    assert inputs.base == "oci:team/base:1"
    lock = Lock(inputs, "20260101T000000Z", {})
    assert (
        explain_stale(lock, parse_spec(ON_IMAGE.replace("registry.example:5000", "mirror.example"))) is None
    )
    assert "`base` was changed" in str(explain_stale(lock, parse_spec(ON_IMAGE.replace("base:1", "base:2"))))


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("oci:debian:trixie", "names no registry, and hotdesk has no default one"),
        ("oci:team/base:1", "names no registry"),
        ("oci:registry.example", "names no registry"),
        ("oci:", "names no registry"),
        ("oci:registry.example/a b", "is no reference to an image"),
    ],
)
def test_an_image_is_named_with_its_registry(base: str, told: str) -> None:
    found = problems(ON_IMAGE.replace("oci:registry.example:5000/team/base:1", base))

    assert "line 4" in found
    assert told in found


@pytest.mark.parametrize("python", ["3.10", "3", "3.13.5", "2.7", "thirteen"])
def test_on_an_image_python_is_any_that_hotdesk_works_with(python: str) -> None:
    found = problems(ON_IMAGE.replace("3.13", python))

    assert f'line 3: on an image, a desk cannot have Python "{python}"; "3.11" is the oldest' in found
