"""How a desk gets its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.desk.folder import Desk, desk_home, make_folder, write_desk
from hotdesk.engines.request import Root
from hotdesk.errors import DeskError
from hotdesk.opening import _desk_name
from hotdesk.project import Project
from hotdesk.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

SPEC = parse_spec('[desk]\nname = "mine"\npython = "3.13"\nbase = "debian:trixie"\n')


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def a_desk(data: Path, name: str, project: Path, variant: str = "cpu") -> None:
    folder = data / "desks" / name
    make_folder(folder)
    root = Root(data, data)
    write_desk(Desk(name, folder, root, project, 8888, "token", 0.0, "boot", labels={"variant": variant}))


def name_for(project: Path, variant: str = "cpu", asked: str | None = None) -> str:
    return _desk_name(Project(project, project, SPEC), variant, asked)


def test_a_desk_is_called_like_its_spec(data: Path, tmp_path: Path) -> None:
    assert name_for(tmp_path) == "mine"


def test_the_same_folder_and_variant_have_the_same_desk_again(data: Path, tmp_path: Path) -> None:
    a_desk(data, "mine", tmp_path)

    assert name_for(tmp_path) == "mine"


def test_another_folder_gets_a_number(data: Path, tmp_path: Path) -> None:
    a_desk(data, "mine", tmp_path / "one")
    a_desk(data, "mine-2", tmp_path / "two")

    assert name_for(tmp_path / "three") == "mine-3"
    assert name_for(tmp_path / "two") == "mine-2"


def test_another_variant_of_the_same_folder_gets_a_number(data: Path, tmp_path: Path) -> None:
    a_desk(data, "mine", tmp_path, "cpu")

    assert name_for(tmp_path, "other") == "mine-2"


def test_a_name_that_was_asked_for_is_that_name_or_an_error(data: Path, tmp_path: Path) -> None:
    a_desk(data, "taken", tmp_path / "one")

    assert name_for(tmp_path, asked="free") == "free"
    assert name_for(tmp_path / "one", asked="taken") == "taken"
    with pytest.raises(DeskError, match="hotdesk rm taken"):
        name_for(tmp_path, asked="taken")


def test_the_home_of_commands_that_ran_before_is_the_one_of_the_desk(data: Path, tmp_path: Path) -> None:
    home = desk_home(name_for(tmp_path))
    (home / "kept").touch()

    assert name_for(tmp_path) == "mine"
    assert (desk_home("mine") / "kept").exists()
