"""What is said of packages that were installed by hand, and which of them a spec takes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cli.test_desks import a_desk
from tests.cli.test_specs import write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commandline import Hotdesk

SITE = "home/.local/lib/python3.13/site-packages"


def install(desk: Path, info: str, *files: str) -> None:
    folder = desk / SITE / f"{info}.dist-info"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()


def test_the_list_tells_what_is_outside_the_lock(hotdesk: Hotdesk) -> None:
    desk = a_desk(hotdesk, "mine")
    for number in range(14):
        install(desk.folder, f"p{number:02}-1.0", "REQUESTED")

    said = hotdesk.try_("ls").stderr
    [row] = hotdesk.json("ls")

    assert "mine has 14 packages outside its lock, installed by hand: p00 1.0, " in said
    assert "p11 1.0 and 2 more; `hotdesk add --adopt` takes" in said
    assert len(row["by_hand"]) == 14
    assert row["by_hand"][0] == {
        "name": "p00", "version": "1.0", "requested": True, "from_index": True, "hidden": False,
    }  # fmt: skip


def test_nothing_is_said_of_a_desk_without(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "mine")

    assert hotdesk.try_("ls").stderr == ""
    assert hotdesk.json("ls")[0]["by_hand"] == []


def test_a_copy_that_is_not_used_is_told(hotdesk: Hotdesk) -> None:
    desk = a_desk(hotdesk, "mine")
    hotdesk.run("init", "sdcnd-term1")
    (desk.folder / "keep").mkdir()
    (hotdesk.folder / "hotdesk.lock").rename(desk.folder / "keep/hotdesk.lock")
    install(desk.folder, "numpy-1.26.4", "REQUESTED")

    said = hotdesk.try_("ls").stderr

    assert "mine does not use numpy 1.26.4, installed by hand" in said
    assert "`pip uninstall --yes numpy` in the desk removes the copy" in said
    assert "outside its lock" not in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--adopt", "absent"], "`absent` is not installed by hand, outside the lock"),
        (["--adopt", "mine"], "there is nothing to adopt"),
        (["--adopt", "--debian"], "leave out --debian or --adopt"),
        ([], "give the names of packages, or --adopt"),
    ],
)
def test_what_cannot_be_adopted_is_refused(hotdesk: Hotdesk, arguments: list[str], says: str) -> None:
    write(hotdesk)
    desk = a_desk(hotdesk, "mine")
    install(desk.folder, "mine-0.1", "REQUESTED", "direct_url.json")

    done = hotdesk.try_("add", *arguments)

    assert done.returncode == 2
    assert says in done.stderr


def test_where_nothing_was_asked_for_it_is_said_what_is_there(hotdesk: Hotdesk, tmp_path: Path) -> None:
    write(hotdesk)
    install(a_desk(hotdesk, "elsewhere", tmp_path / "other").folder, "a-1", "REQUESTED")
    none = hotdesk.try_("add", "--adopt").stderr
    install(a_desk(hotdesk, "mine").folder, "needed-1.0")
    some = hotdesk.try_("add", "--adopt").stderr

    assert "no desk on" in none
    assert "needed 1.0 came with others that are not there any more; to keep one, give its name" in some
