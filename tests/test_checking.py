"""The spec's checks; what an engine does for them is to start commands, which this machine does as well."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hotdesk.checking import Check, checks_of, run_check
from hotdesk.desk import Desk
from hotdesk.opening import Ready
from hotdesk.spec import Checks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk("mine", tmp_path, None, None, port=0, token="", started=0, boot="")


@pytest.fixture
def ready(desk: Desk, tmp_path: Path) -> Ready:
    def run(command: tuple[str, ...]) -> int:
        program = sys.executable if command[0] == "python" else command[0]
        return subprocess.call([program, *command[1:]], cwd=tmp_path)

    return Ready(desk, run)


def test_the_longest_come_last() -> None:
    checks = Checks(imports=("a",), commands=("b",), notebooks=("c.ipynb",))

    assert [check.kind for check in checks_of(checks)] == ["import", "command", "notebook"]


def test_an_import_tells_its_time_and_its_version(ready: Ready, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time; time.sleep(0.2); __version__ = '1.2'; print('noise', end='')"
    )

    result = run_check(ready, Check("import", "slow"), tmp_path)

    assert result.ok
    assert result.version == "1.2"
    assert 0.2 <= result.seconds < 5


def test_a_module_without_a_version_has_that_of_its_package(ready: Ready, tmp_path: Path) -> None:
    assert run_check(ready, Check("import", "pytest_timeout"), tmp_path).version[0].isdigit()


def test_a_failed_import_says_why(ready: Ready, tmp_path: Path) -> None:
    result = run_check(ready, Check("import", "nothing_like_it"), tmp_path)

    assert not result.ok
    assert "No module named 'nothing_like_it'" in result.output


def test_a_command_is_bashs_and_prints_nothing_here(
    ready: Ready, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    passed = run_check(ready, Check("command", "[[ -z $(cat) ]] && echo fine"), tmp_path)
    failed = run_check(ready, Check("command", "echo out; echo err >&2; exit 3"), tmp_path)

    assert (passed.exit_code, passed.output) == (0, "fine\n")
    assert (failed.exit_code, failed.output) == (3, "out\nerr\n")
    assert capfd.readouterr() == ("", "")


def test_of_much_output_the_end_is_kept(ready: Ready, tmp_path: Path) -> None:
    output = run_check(ready, Check("command", "seq 100000"), tmp_path).output

    assert output.endswith("\n99999\n100000\n")
    assert len(output) < 20_000


def test_a_command_that_ends_as_if_interrupted_has_failed(ready: Ready, tmp_path: Path) -> None:
    assert run_check(ready, Check("command", "exit 130"), tmp_path).exit_code == 130


def test_the_terminal_is_back_also_where_the_engine_fails(desk: Desk, tmp_path: Path) -> None:
    def run(command: tuple[str, ...]) -> int:
        raise OSError(command)

    before = [os.fstat(number).st_ino for number in range(3)]
    with pytest.raises(OSError, match="bash"):
        run_check(Ready(desk, run), Check("command", "true"), tmp_path)

    assert [os.fstat(number).st_ino for number in range(3)] == before
