from __future__ import annotations

from dataclasses import replace

import pytest
from tests.desk.on_record import report, something_runs

from hotdesk import desk as desks
from hotdesk.desk import Desk, Owner
from hotdesk.errors import DeskError


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


def test_the_log_is_read_to_its_end(desk: Desk) -> None:
    assert "".join(desks.read_log(desk)) == desk.log.read_text()
    assert "".join(desks.read_log(desk, follow=True)) == desk.log.read_text()


def test_what_is_only_registered_was_never_opened(desk: Desk) -> None:
    registered = desks.claim("new", Owner(None, "cpu"), fixed=True)

    assert desks.condition(registered).state == "never opened"
    with pytest.raises(DeskError, match="the desk `new` has no log") as caught:
        list(desks.read_log(registered))
    assert caught.value.hint == "open it with `hotdesk up`"
