"""What every Python of a desk starts with, in a virtual environment of the Python that runs the tests."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hotdesk.layers.entries import write_tree
from hotdesk.layers.startup import startup_entries
from hotdesk.startup import pip_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Python = Callable[..., str]

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
SITE = f"lib/python{VERSION}/site-packages"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with nothing in it but what hotdesk adds to each."""
    folder = tmp_path / "desk"
    folder.mkdir()
    write_tree(startup_entries(VERSION), folder)
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(
        f"home = {sys.base_prefix}/bin\ninclude-system-site-packages = false\n"
    )
    return folder


@pytest.fixture
def python(environment: Path, home: Path, tmp_path: Path) -> Python:
    """Runs the environment's Python with some arguments, as a desk does; what it said."""

    def run(*arguments: str) -> str:
        variables = {"HOME": str(home), "PYTHONNOUSERSITE": "1"}
        done = subprocess.run(
            [environment / "bin/python", *arguments],
            env=variables, cwd=tmp_path, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert not done.stderr
        return done.stdout.strip()

    return run


def module(folder: Path, name: str, content: str = "where = __file__\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.py").write_text(content)


def test_what_is_below_the_home_is_searched_last(python: Python, environment: Path, home: Path) -> None:
    for folder in (environment / SITE, home / ".local" / SITE):
        module(folder, "both")
    module(home / ".local" / SITE, "by_hand")

    assert python("-c", "import by_hand; print(by_hand.where)").startswith(str(home))
    assert python("-c", "import both; print(both.where)").startswith(str(environment))
    assert python("-c", "import sys; print(*sys.path[-2:])") == f"{environment / SITE} {home}/.local/{SITE}"


def test_a_process_finds_what_comes_later_into_a_folder_that_was_not_there(python: Python) -> None:
    kernel = f"""
import importlib.metadata, os
try:
    import later
except ImportError:
    folder = os.path.expanduser("~/.local/{SITE}")
    os.makedirs(folder + "/later-1.dist-info")
    open(folder + "/later-1.dist-info/METADATA", "w").write("Name: later\\nVersion: 1\\n")
    open(folder + "/later.py", "w").close()
import later
print(importlib.metadata.version("later"))
"""
    assert python("-c", kernel) == "1"


def test_a_path_that_is_not_there_yet_is_searched_once(python: Python, home: Path) -> None:
    assert python("-c", f"import sys; print(sys.path.count('{home}/.local/{SITE}'))") == "1"


def test_a_start_leaves_no_trace_in_the_home(python: Python, home: Path) -> None:
    python("-c", "pass")

    assert list(home.iterdir()) == []


def test_editable_packages_count(python: Python, home: Path, tmp_path: Path) -> None:
    module(tmp_path / "project", "mine")
    module(home / ".local" / SITE, "other")
    (home / ".local" / SITE / "mine.pth").write_text(f"{tmp_path}/project\n")

    assert python("-c", "import mine; print(mine.where)") == str(tmp_path / "project/mine.py")


def test_an_isolated_python_sees_the_lock_alone(python: Python, home: Path) -> None:
    module(home / ".local" / SITE, "by_hand")

    found = python("-I", "-c", "import importlib.util as u; print(u.find_spec('by_hand'))")

    assert found == "None"


def test_what_a_library_needs_when_it_is_imported_is_done_then(python: Python, environment: Path) -> None:
    module(
        environment / SITE, "library", "import sys\nvalue = 1\nloader = sys.modules[__name__].__loader__\n"
    )
    script = """
import importlib.util, sys, _hotdesk
tries = []
def change(load, module):
    tries.append(module)
    if len(tries) == 1:
        raise ImportError("not yet")
    load(module)
    module.value += 1
_hotdesk.WHEN_IMPORTED.update(library=change, absent=change)
_hotdesk._added = None
_hotdesk.start()
try:
    import absent
except ImportError:
    pass
importlib.util.find_spec("library")  # to look is not to load
try:
    import library
except ImportError:
    pass
import library
first = library.value
del sys.modules["library"]
import library as again
print(first, again.value, type(again.__loader__).__name__, "absent" in _hotdesk.WHEN_IMPORTED)
"""
    assert python("-c", script) == "2 1 SourceFileLoader True"


def test_a_finder_of_the_old_kind_is_passed_over(python: Python, environment: Path) -> None:
    module(environment / SITE, "library", "value = 1\n")
    script = """
import sys, _hotdesk
class Old:
    def find_module(self, name, path=None): pass
_hotdesk.WHEN_IMPORTED["library"] = lambda load, module: load(module)
sys.meta_path.insert(0, Old())
import library
print(library.value)
"""
    assert python("-c", script) == "1"


@pytest.mark.parametrize("name", ["pipeline.py", "pip-compile", "pipx", "pip_tools.py"])
def test_a_program_whose_name_begins_like_pips_is_left_alone(
    python: Python, environment: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("import sys; print(sys.prefix, *sys.argv[1:])")

    assert python(str(tmp_path / name), "install", "x") == f"{environment} install x"


@pytest.mark.parametrize("options", [(), ("-X", "utf8"), ("-W", "ignore")])
def test_pip_works_on_what_is_below_the_home(
    python: Python, environment: Path, home: Path, options: tuple[str, ...]
) -> None:
    (environment / SITE / "locked-1.2.dist-info").mkdir()
    pip = environment / SITE / "pip"
    module(pip, "__init__", "")
    module(
        pip, "__main__",
        "import sys, sysconfig\n"
        "_, command, constraint, *rest = sys.argv\n"
        "print(sys.prefix, sysconfig.get_path('purelib'), command, *rest)\n"
        "print(open(constraint.removeprefix('--constraint=')).read())\n",
    )  # fmt: skip

    said = python(*options, "-m", "pip", "install", "--user", "x")

    assert said == f"{home}/.local {home}/.local/{SITE} install x\nlocked==1.2"


def test_modules_that_the_lock_has_too_are_told(tmp_path: Path) -> None:
    locked, by_hand = tmp_path / "locked", tmp_path / "by hand"
    for folder in (locked, by_hand):
        module(folder / "cv2", "__init__")
        module(folder / "google", "one_of_many")
        module(folder, "six")
        (folder / "__pycache__").mkdir()
        (folder / "x-1.dist-info").mkdir()
    module(by_hand, "new")

    assert pip_command.hidden_modules(str(by_hand), str(locked)) == ["cv2", "six.py"]
    assert pip_command.hidden_modules(str(tmp_path / "none"), str(locked)) == []


def test_what_is_installed_elsewhere_is_not_held_to_the_lock(tmp_path: Path) -> None:
    for words in (["--target", "x"], ["--target=x"], ["-tx"], ["--prefix=x"], ["--python", "x"]):
        assert any(map(pip_command._is_elsewhere, words))
    for words in (["x"], ["--trusted-host", "x"], ["--root-user-action=ignore"], ["--python-version", "3"]):
        assert not any(map(pip_command._is_elsewhere, words))
