from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.desk.on_record import report, something_runs

from hotdesk import desk as desks
from hotdesk.desk import Desk, Owner
from hotdesk.errors import DeskError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_reused_process_id_is_never_killed(desk: Desk) -> None:
    with subprocess.Popen(["sleep", "30"]) as innocent:
        report(desk, f'{{ "child-pid": {innocent.pid} }}\n')

        desks.stop(desk)
        with something_runs(desk), pytest.raises(DeskError, match="does not end"):
            desks.stop(desk)  # even when something does run: this process is no pid 1

        assert innocent.poll() is None
        innocent.kill()


def test_what_others_may_write_names_no_process_to_stop(desk: Desk) -> None:
    desk.folder.chmod(0o777)
    _, [damaged] = desks.survey()

    with pytest.raises(DeskError, match="not safe to use"):
        desks.stop(damaged)


def test_without_any_desk_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path / "empty"))

    assert desks.desks() == []
    with pytest.raises(DeskError, match="no desk"):
        desks.remove("any")


def test_a_desk_is_not_removed_under_a_command_that_uses_its_home(desk: Desk) -> None:
    with desks.occupied("term1", Owner(None, "")) as used:
        assert used == desk
        with pytest.raises(DeskError, match="a command runs in the home of the desk `term1`"):
            desks.remove("term1")
        assert used.home.is_dir()

    desks.remove("term1")


def test_a_desk_that_cannot_be_read_can_be_removed(desk: Desk) -> None:
    (desk.folder / "desk.json").write_text("{")
    desk.folder.chmod(0o755)

    desks.remove("term1")

    assert not desk.folder.exists()


def test_what_a_killed_removal_left_goes_with_the_next(desk: Desk) -> None:
    left = desk.folder.with_name(".term1~0011")
    left.mkdir()

    assert desks.desks() == [desk]
    desks.remove("term1")

    assert not left.exists()


def test_remove_takes_everything_of_the_desk(desk: Desk) -> None:
    desk.home.mkdir(exist_ok=True)
    (desk.home / "file").write_text("x")

    desks.remove("term1")

    assert not desk.folder.exists()
    assert desks.desks() == []
