from __future__ import annotations

import fcntl
import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotdesk import desk as desks
from hotdesk.desk import Desk, Owner
from hotdesk.desk import folder as folders
from hotdesk.engines.request import Root
from hotdesk.errors import DeskError

if TYPE_CHECKING:
    from collections.abc import Iterator

THIS_BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk on record; nothing runs."""
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path))
    folder = folders.desk_folder("term1")
    folders.make_folder(folder)
    root = Root(tmp_path / "system", tmp_path / "environment")
    desk = Desk("term1", folder, root, None, port=8888, token="t", started=0, boot=THIS_BOOT)
    folders.write_desk(desk)
    (folder / "log").write_text("".join(f"line {number}\n" for number in range(100)))
    return desk


@contextmanager
def something_runs(desk: Desk) -> Iterator[None]:
    """Hold the lock that a sandbox's pid 1 holds."""
    descriptor = folders.open_private(desk.folder / "alive")
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def report(desk: Desk, text: str) -> None:
    (desk.folder / "status").write_text(text)


def test_it_runs_while_something_inside_holds_the_lock(desk: Desk) -> None:
    report(desk, '{ "child-pid": 12 }\n')

    with something_runs(desk):
        assert desks.condition(desk).state == "running"
    assert desks.condition(desk).state == "crashed"


def test_it_has_crashed_when_jupyter_ended_with_an_error(desk: Desk) -> None:
    report(desk, '{ "child-pid": 12 }\n{ "exit-code": 3 }\n')

    found = desks.condition(desk)

    assert (found.state, found.exit_code) == ("crashed", 3)
    assert found.log.splitlines()[-1] == "line 99"
    assert len(found.log.splitlines()) < 20


def test_what_jupyter_left_behind_does_not_make_it_run(desk: Desk) -> None:
    report(desk, '{ "child-pid": 12 }\n{ "exit-code": 1 }\n')

    with something_runs(desk):
        assert desks.condition(desk).state == "crashed"


def test_it_has_stopped_when_its_user_shut_jupyter_down(desk: Desk) -> None:
    report(desk, '{ "child-pid": 12 }\n{ "exit-code": 0 }\n')

    assert desks.condition(desk).state == "stopped"


def test_it_has_stopped_when_asked_to_however_it_ended(desk: Desk) -> None:
    report(desk, '{ "child-pid": 12 }\n{ "exit-code": 137 }\n')

    assert desks.condition(replace(desk, stopped=True)).state == "stopped"


def test_after_a_reboot_it_has_stopped(desk: Desk) -> None:
    report(desk, '{ "child-pid": 1 }\n')

    assert desks.condition(replace(desk, boot="an earlier one")).state == "stopped"


def test_a_reused_process_id_is_never_killed(desk: Desk) -> None:
    with subprocess.Popen(["sleep", "30"]) as innocent:
        report(desk, f'{{ "child-pid": {innocent.pid} }}\n')

        desks.stop(desk)
        with something_runs(desk), pytest.raises(DeskError, match="does not end"):
            desks.stop(desk)  # even when something does run: this process is no pid 1

        assert innocent.poll() is None
        innocent.kill()


def test_an_unknown_desk_is_named_with_those_there_are(desk: Desk) -> None:
    with pytest.raises(DeskError) as caught:
        desks.find("trem1")

    assert "`trem1`" in caught.value.what
    assert "`term1`" in caught.value.why


def test_without_any_desk_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path / "empty"))

    assert desks.desks() == []
    with pytest.raises(DeskError, match="no desk"):
        desks.remove("any")


def test_the_log_is_read_to_its_end(desk: Desk) -> None:
    assert "".join(desks.read_log(desk)) == desk.log.read_text()
    assert "".join(desks.read_log(desk, follow=True)) == desk.log.read_text()


def test_what_is_only_registered_was_never_opened(desk: Desk) -> None:
    registered = desks.claim("new", Owner(None, "cpu"), fixed=True)

    assert desks.condition(registered).state == "never opened"


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
