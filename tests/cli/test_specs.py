"""init, templates, lock --check, add, remove: what needs no network."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hotdesk.cli.specs import write_edited
from hotdesk.errors import SpecError
from hotdesk.lock import DebianPackage, Lock, PlatformLock, PythonPackage, write_lock
from hotdesk.project import template_names
from hotdesk.spec import parse_spec, read_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commandline import Hotdesk

SPEC = """
# my desk
[desk]
name = "mine"
python = "3.13"
base = "debian:trixie"
platforms = ["linux/amd64"]

[packages]
pypi = ["six"]  # the one
"""


def write(hotdesk: Hotdesk, spec: str = SPEC, *, locked: str | None = SPEC) -> None:
    """A spec, and a lock of `locked` without packages."""
    (hotdesk.folder / "hotdesk.toml").write_text(spec)
    if locked is not None:
        empty = PlatformLock(debian=tuple[DebianPackage](), pypi=tuple[PythonPackage]())
        lock = Lock(parse_spec(locked).inputs(), "20260101T000000Z", {"linux/amd64": empty})
        write_lock(lock, hotdesk.folder / "hotdesk.lock")


def test_init_writes_a_spec_named_after_the_folder(hotdesk: Hotdesk) -> None:
    said = hotdesk.run("init")

    spec = read_spec(hotdesk.folder / "hotdesk.toml")
    assert spec.name == "folder"
    assert "jupyterlab" in spec.pypi
    assert "hotdesk lock" in said


@pytest.mark.parametrize("name", ["hotdesk.toml", "hotdesk.lock"])
@pytest.mark.parametrize("template", [[], ["sdcnd-term1"]], ids=["plain", "template"])
def test_init_overwrites_nothing(hotdesk: Hotdesk, name: str, template: list[str]) -> None:
    (hotdesk.folder / name).write_text("mine")

    done = hotdesk.try_("init", *template)

    assert done.returncode == 2
    assert f"there is a `{name}` here already" in done.stderr
    assert {path.name: path.read_text() for path in hotdesk.folder.iterdir()} == {name: "mine"}


def test_init_copies_the_templates_projects_and_has_their_notebooks_checked(hotdesk: Hotdesk) -> None:
    said = hotdesk.run("init", "sdcnd-term1", "--with-projects")

    spec = read_spec(hotdesk.folder / "hotdesk.toml")
    assert len(spec.checks.notebooks) == 5
    assert all((hotdesk.folder / path).is_file() for path in spec.checks.notebooks)
    assert "p1-lane-lines" in said
    assert hotdesk.run("lock", "--check") == "the lock matches the spec\n"
    assert not [*hotdesk.folder.rglob("__pycache__")]


def test_init_overwrites_no_project(hotdesk: Hotdesk) -> None:
    (hotdesk.folder / "p4-advanced-lane-lines").mkdir()

    done = hotdesk.try_("init", "sdcnd-term1", "--with-projects")

    assert done.returncode == 2
    assert "there is a `p4-advanced-lane-lines` here already" in done.stderr
    assert [path.name for path in hotdesk.folder.iterdir()] == ["p4-advanced-lane-lines"]


def test_projects_come_with_a_template(hotdesk: Hotdesk) -> None:
    assert "projects come with a template" in hotdesk.try_("init", "--with-projects").stderr


def test_init_of_a_template_writes_its_spec_and_its_lock(hotdesk: Hotdesk) -> None:
    hotdesk.run("init", "sdcnd-term1")

    assert read_spec(hotdesk.folder / "hotdesk.toml").name == "sdcnd-term1"
    assert hotdesk.run("lock", "--check") == "the lock matches the spec\n"


def test_init_of_no_template_says_which_was_meant(hotdesk: Hotdesk) -> None:
    done = hotdesk.try_("init", "sdcnd-trem1")

    assert done.returncode == 2
    assert "did you mean `sdcnd-term1`?" in done.stderr
    assert list(hotdesk.folder.iterdir()) == []


def test_templates_are_listed_for_people_and_for_programs(hotdesk: Hotdesk) -> None:
    table, rows = hotdesk.run("templates"), hotdesk.json("templates")

    assert [row["name"] for row in rows] == list(template_names())
    assert all(row["description"] in table for row in rows)
    assert "sdcnd-term1" in table


def test_a_fresh_lock_passes_the_check(hotdesk: Hotdesk) -> None:
    write(hotdesk, SPEC.replace("\n", "\r\n").replace('"six"', '"Six"'))

    assert hotdesk.run("lock", "--check") == "the lock matches the spec\n"
    assert hotdesk.json("lock", "--check") == {"fresh": True, "why": ""}


def test_a_stale_lock_fails_the_check_and_stays_as_it_is(hotdesk: Hotdesk) -> None:
    write(hotdesk, SPEC.replace('"six"', '"six>=1", "tqdm"'))
    before = (hotdesk.folder / "hotdesk.lock").read_bytes()

    done, asked = hotdesk.try_("lock", "--check"), hotdesk.try_("lock", "--check", "--json")

    assert (done.returncode, asked.returncode) == (1, 1)
    assert "`six` was changed to `six>=1` in `[packages] pypi`" in done.stderr
    assert "`tqdm` was added to `[packages] pypi`" in done.stderr
    assert "hint: run `hotdesk lock`" in done.stderr
    assert json.loads(asked.stdout)["fresh"] is False
    assert (hotdesk.folder / "hotdesk.lock").read_bytes() == before


def test_a_missing_lock_fails_the_check(hotdesk: Hotdesk) -> None:
    write(hotdesk, locked=None)

    done, asked = hotdesk.try_("lock", "--check"), hotdesk.try_("lock", "--check", "--json")

    assert (done.returncode, asked.returncode) == (1, 1)
    assert "there is no `hotdesk.lock`" in done.stderr
    assert json.loads(asked.stdout)["fresh"] is False


def own_failure(command: list[str], code: int) -> int:
    """`run` and `shell` leave the small codes to the command inside."""
    return 125 if command[0] in ("run", "shell") else code


@pytest.mark.parametrize("command", [["up"], ["run", "true"], ["shell"]])
def test_nothing_opens_on_a_stale_lock(hotdesk: Hotdesk, command: list[str]) -> None:
    write(hotdesk, SPEC.replace('"six"', '"six", "tqdm"'))

    done = hotdesk.try_(*command)

    assert done.returncode == own_failure(command, 1)
    assert "error: `hotdesk.lock` does not match `hotdesk.toml`" in done.stderr
    assert "`tqdm` was added" in done.stderr
    assert not (hotdesk.store / "downloads").exists()


@pytest.mark.parametrize("command", [["up"], ["run", "true"], ["lock"], ["lock", "--check"], ["add", "six"]])
def test_a_folder_without_a_spec_is_told_what_to_do(hotdesk: Hotdesk, command: list[str]) -> None:
    done = hotdesk.try_(*command)

    assert done.returncode == own_failure(command, 2)
    assert "there is no `hotdesk.toml`" in done.stderr
    assert "`hotdesk init` writes one" in done.stderr


def test_a_folder_below_the_spec_belongs_to_it(hotdesk: Hotdesk) -> None:
    write(hotdesk)
    below = hotdesk.folder / "a" / "b"
    below.mkdir(parents=True)

    done = replace(hotdesk, folder=below).run("lock", "--check")

    assert done == "the lock matches the spec\n"


def test_names_without_upgrade_are_refused(hotdesk: Hotdesk) -> None:
    write(hotdesk)

    done = hotdesk.try_("lock", "six")

    assert done.returncode == 2
    assert "hotdesk lock --upgrade six" in done.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["add", "six"], "`six` is in `[packages] pypi` already"),
        (["add", "./wheel.whl"], "says where a package is"),
        (["add", "--variant", "gpu", "tqdm"], "there is no variant `gpu`"),
        (["add", "--debian", "unzip=6"], "the lock chooses its version"),
        (["remove", "sx"], "did you mean `six`?"),
    ],
)
def test_an_edit_that_cannot_be_leaves_the_spec_as_it_was(
    hotdesk: Hotdesk, command: list[str], message: str
) -> None:
    write(hotdesk)

    done = hotdesk.try_(*command)

    assert done.returncode == 2
    assert message in done.stderr
    assert (hotdesk.folder / "hotdesk.toml").read_text() == SPEC


def test_an_edit_that_cannot_be_locked_leaves_spec_and_lock_as_they_were(hotdesk: Hotdesk) -> None:
    write(hotdesk)
    nowhere = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(hotdesk.folder), "UV_DEFAULT_INDEX": ""}
    lock = (hotdesk.folder / "hotdesk.lock").read_bytes()

    alone = replace(hotdesk, environment=hotdesk.environment | nowhere)

    done = alone.try_("add", "no-such-package-anywhere")

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no-such-package-anywhere" in done.stderr
    assert (hotdesk.folder / "hotdesk.toml").read_text() == SPEC
    assert (hotdesk.folder / "hotdesk.lock").read_bytes() == lock
    assert sorted(path.name for path in hotdesk.folder.iterdir()) == ["hotdesk.lock", "hotdesk.toml"]


def test_an_edit_made_while_packages_are_resolved_is_not_undone(tmp_path: Path) -> None:
    path = tmp_path / "hotdesk.toml"
    path.write_text("mine")
    before = path.read_bytes()
    write_edited(path, "added", before)
    assert path.read_text() == "added"

    with pytest.raises(SpecError, match="was edited while"):
        write_edited(path, "removed", before)

    assert path.read_text() == "added"


def test_check_and_upgrade_exclude_each_other(hotdesk: Hotdesk) -> None:
    write(hotdesk)

    done = hotdesk.try_("lock", "--check", "--upgrade")

    assert done.returncode == 2
    assert "--upgrade" in done.stderr
