"""uv's answers and failures, as hotdesk understands them; uv runs for real, on a folder of tiny wheels."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.resolve.index_folder import add_wheel, settings_for
from tests.resolve.sdist_folder import add_sdist

from hotdesk.cache import collect_garbage
from hotdesk.errors import FetchError, ResolveError
from hotdesk.resolve.uv import NoSolution, Question, Uv, ask, compile_arguments, tidy
from hotdesk.resolve.wheels import Target
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target("linux/amd64", "debian:trixie")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


def uv_for(index: Path, **settings: str) -> Uv:
    return Uv(Store(index.parent / "store"), settings_for(index) | settings)


def test_the_answer_has_each_package_with_hash_and_address(index: Path) -> None:
    add_wheel(index, "top", "2.0", "below>=1")
    add_wheel(index, "below", "1.5")

    answer = uv_for(index).compile(Question(["top"]), TARGET)

    assert isinstance(answer, list)
    assert [(choice.name, choice.version) for choice in answer] == [("below", "1.5"), ("top", "2.0")]
    (offer,) = answer[1].wheels
    assert offer.file == "top-2.0-py3-none-any.whl"
    assert offer.url.startswith("file://")
    assert offer.sha256
    assert len(offer.sha256) == 64


def test_markers_are_those_of_the_desk(index: Path) -> None:
    add_wheel(
        index,
        "top",
        "1.0",
        'new; python_full_version >= "3.13.5"',
        'old; python_version < "3.13"',
        'windows; sys_platform == "win32"',
        'arm; platform_machine == "aarch64"',
    )
    for name in ("new", "old", "windows", "arm"):
        add_wheel(index, name, "1.0")

    def names(target: Target) -> set[str]:
        answer = uv_for(index).compile(Question(["top"]), target)
        assert isinstance(answer, list)
        return {choice.name for choice in answer}

    assert names(TARGET) == {"top", "new"}
    assert names(Target("linux/arm64", "debian:bookworm")) == {"top", "old", "arm"}


@pytest.mark.parametrize(
    "answer",
    ["a = " + "[" * 100_000, "packages = 1", "packages = [1]", "[[packages]]\nname = 1", "\0", None],
    ids=lambda answer: repr(answer)[:20],
)
def test_an_answer_that_is_none_is_told(tmp_path: Path, answer: str | None) -> None:
    """The code of an sdist that is built meanwhile may have written it."""

    def run(_: object, folder: Path) -> tuple[int, bytes]:
        if answer is None:
            (folder / "pylock.toml").symlink_to("/etc/passwd")
        else:
            (folder / "pylock.toml").write_text(answer)
        return 0, b""

    with pytest.raises(ResolveError, match="uv's answer cannot be read") as caught:
        ask(Question(["top"]), TARGET, run, tmp_path, python=sys.executable)
    assert "pylock.toml: " in caught.value.why


def test_a_package_that_does_not_exist_has_no_solution(index: Path) -> None:
    answer = uv_for(index).compile(Question(["nowhere"]), TARGET)

    assert isinstance(answer, NoSolution)
    assert "nowhere was not found" in answer.explanation
    assert answer.without_wheels == ()


def test_a_package_with_wheels_for_another_platform_only_is_named(index: Path) -> None:
    add_wheel(index, "compiled", "1.0", tag="cp313-cp313-win_amd64")

    answer = uv_for(index).compile(Question(["compiled"]), TARGET)

    assert isinstance(answer, NoSolution)
    assert answer.without_wheels == ("compiled",)


def test_settings_of_the_current_project_do_not_leak_in(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_wheel(index, "top", "1.0")
    (index.parent / "uv.toml").write_text(
        'find-links = ["nowhere"]\nno-index = false\nconstraint-dependencies = 3'
    )
    monkeypatch.chdir(index.parent)
    environment = {key: value for key, value in settings_for(index).items() if key != "UV_NO_CONFIG"}

    answer = Uv(Store(index.parent / "store"), environment).compile(Question(["top"]), TARGET)

    assert isinstance(answer, list)


@pytest.mark.parametrize("setting", ['no-binary = ["odd"]', "no-deps = true", 'no-emit-package = ["below"]'])
def test_the_users_uv_toml_changes_no_answer_and_lets_no_code_run_here(setting: str, index: Path) -> None:
    add_wheel(index, "below", "1.0")
    add_wheel(index, "top", "1.0", "below", "odd")
    add_wheel(index, "odd", "1.0")
    ran = index.parent / "ran"
    add_sdist(index, "odd", metadata_hook=f"pathlib.Path({str(ran)!r}).write_text('')")
    settings = index.parent / ".config" / "uv"
    settings.mkdir(parents=True)
    (settings / "uv.toml").write_text(f"[pip]\n{setting}\n")
    environment = {key: value for key, value in settings_for(index).items() if key != "UV_NO_CONFIG"}
    environment["HOME"] = str(index.parent)

    answer = Uv(Store(index.parent / "store"), environment).compile(Question(["top"]), TARGET)

    assert isinstance(answer, list)
    assert [choice.name for choice in answer] == ["below", "odd", "top"]
    assert not ran.exists()


def test_variables_that_would_change_the_answer_are_not_passed_on(index: Path) -> None:
    add_wheel(index, "top", "1.0")
    add_wheel(index, "top", "2.0")
    uv = uv_for(index, UV_RESOLUTION="lowest", UV_OVERRIDE="none-such.txt")

    answer = uv.compile(Question(["top"]), TARGET)

    assert isinstance(answer, list)
    assert [choice.version for choice in answer] == ["2.0"]


def test_an_index_that_does_not_answer_is_no_missing_package(index: Path) -> None:
    uv = uv_for(
        index, UV_DEFAULT_INDEX="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0", NO_PROXY="127.0.0.1"
    )

    with pytest.raises(FetchError, match="does not answer") as caught:
        uv.compile(Question(["top"]), TARGET)

    assert "127.0.0.1:9" in caught.value.why


_ASK = """
import sys
from pathlib import Path

from hotdesk.resolve.uv import Question, Uv
from hotdesk.resolve.wheels import Target
from hotdesk.store import Store

environment = {"UV_DEFAULT_INDEX": sys.argv[2], "NO_PROXY": "127.0.0.1"}
target = Target("linux/amd64", "debian:trixie")
Uv(Store(Path(sys.argv[1])), environment).compile(Question(["top"]), target)
"""


def test_a_killed_question_leaves_nothing_that_is_not_collected(tmp_path: Path) -> None:
    store, temporary = Store(tmp_path / "store"), tmp_path / "tmp"
    temporary.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        arguments = [sys.executable, "-c", _ASK, str(store.root), address]
        with subprocess.Popen(arguments, env=os.environ | {"TMPDIR": str(temporary)}) as asking:
            silent.settimeout(30)
            silent.accept()[0].close()  # uv asks, so the question is written
            asking.kill()

    assert list(store.root.glob("tmp/*/requirements.in"))
    assert not list(temporary.iterdir())
    collect_garbage(store)
    assert not list(store.root.glob("tmp/*"))


def test_uv_is_told_which_interpreter_to_ask_or_it_would_download_one() -> None:
    arguments = compile_arguments(Question([]), TARGET, "/usr/bin/python3")

    assert arguments[arguments.index("--python") + 1] == "/usr/bin/python3"
    assert "--no-python-downloads" in arguments
    assert arguments[arguments.index("--python-version") + 1] == "3.13.5"
    assert arguments[arguments.index("--python-platform") + 1] == "x86_64-manylinux_2_40"


def test_only_packages_without_wheels_may_be_taken_as_source() -> None:
    arguments = compile_arguments(Question([], from_source=["moviepy"]), TARGET, "python")

    assert arguments[arguments.index("--only-binary") + 1] == ":all:"
    assert arguments[arguments.index("--no-binary") + 1] == "moviepy"


def test_an_explanation_has_none_of_uvs_frame() -> None:
    said = (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because a==1 depends on b<2 and you require b>2, we can conclude that your requirements are"
        " unsatisfiable.\n\nhint: Something about flags of uv\n"
    )

    assert tidy(said) == "Because a==1 depends on b<2 and you require b>2, this cannot be."
