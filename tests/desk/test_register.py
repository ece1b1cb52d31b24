"""Whose a desk is, and how it gets its name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hotdesk.desk import Owner, claim, desks, find, occupied, survey
from hotdesk.errors import DeskError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "desks"


def name_for(project: Path, variant: str = "cpu") -> str:
    return claim("mine", Owner(project, variant), fixed=False).name


def test_a_desk_is_called_as_wished(tmp_path: Path) -> None:
    assert name_for(tmp_path) == "mine"
    assert [desk.name for desk in desks()] == ["mine"]


def test_the_same_folder_and_variant_have_the_same_desk_again(tmp_path: Path) -> None:
    assert [name_for(tmp_path), name_for(tmp_path)] == ["mine", "mine"]


def test_another_folder_gets_a_number_and_keeps_it(tmp_path: Path, data: Path) -> None:
    names = [name_for(tmp_path / number) for number in ("one", "two", "three", "two")]

    assert names == ["mine", "mine-2", "mine-3", "mine-2"]
    (data / "mine" / "desk.json").unlink()
    assert name_for(tmp_path / "two") == "mine-2"


def test_another_variant_of_the_same_folder_gets_a_number(tmp_path: Path) -> None:
    assert [name_for(tmp_path, variant) for variant in ("cpu", "other")] == ["mine", "mine-2"]


def test_eight_folders_at_once_get_eight_names_and_homes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        claimed = list(
            pool.map(lambda number: claim("mine", _owner(tmp_path, number), fixed=False), range(8))
        )

    assert len({desk.name for desk in claimed}) == 8
    assert len({desk.home for desk in claimed if desk.home.is_dir()}) == 8


def _owner(tmp_path: Path, number: int) -> Owner:
    return Owner(tmp_path / str(number), "cpu")


def test_a_fixed_name_is_that_name_or_an_error(tmp_path: Path) -> None:
    taken = Owner(tmp_path / "one", "cpu")
    claim("taken", taken, fixed=True)

    assert claim("taken", taken, fixed=True).name == "taken"
    assert claim("free", Owner(tmp_path, "cpu"), fixed=True).name == "free"
    with pytest.raises(DeskError, match="hotdesk rm taken") as caught:
        claim("taken", Owner(tmp_path, "cpu"), fixed=True)
    assert str(tmp_path / "one") in caught.value.why


def test_an_unknown_desk_is_named_with_those_there_are(tmp_path: Path) -> None:
    name_for(tmp_path)

    with pytest.raises(DeskError) as caught:
        find("mien")

    assert "`mien`" in caught.value.what
    assert "`mine`" in caught.value.why


def test_a_command_and_a_desk_of_the_same_folder_share_a_home_and_no_others_do(tmp_path: Path) -> None:
    with occupied("mine", Owner(tmp_path / "one", "cpu")) as one:
        with occupied("mine", Owner(tmp_path / "two", "cpu")) as two:
            assert (one.name, two.name) == ("mine", "mine-2")
        assert claim("mine", Owner(tmp_path / "one", "cpu"), fixed=False).home == one.home


@pytest.mark.parametrize("damage", ["truncated", "open to all", "a link"])
def test_a_damaged_desk_is_told_and_stands_in_nobodys_way(tmp_path: Path, data: Path, damage: str) -> None:
    name_for(tmp_path / "one")
    if damage == "truncated":
        (data / "mine" / "desk.json").write_text("{")
    elif damage == "open to all":
        (data / "mine").chmod(0o755)
    else:
        (data / "mine").rename(tmp_path / "elsewhere")
        (data / "mine").symlink_to(tmp_path / "elsewhere")

    assert name_for(tmp_path / "two") == "mine-2"
    found, damaged = survey()
    assert ([desk.name for desk in found], [desk.name for desk in damaged]) == (["mine-2"], ["mine"])
    assert damaged[0].why
