"""What was installed by hand in a desk, whose programs may have written anything there."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotdesk.desk import claim, find
from hotdesk.desk.by_hand import ByHand, installed_by_hand, outside_lock
from hotdesk.desk.register import Owner
from hotdesk.project import host_platform, read_template

if TYPE_CHECKING:
    from pathlib import Path

SITE = ".local/lib/python3.13/site-packages"


def install(home: Path, info: str, *files: str, site: str = SITE) -> Path:
    folder = home / site / f"{info}.dist-info"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()
    return folder


def test_packages_are_told_with_what_asked_for_them(tmp_path: Path) -> None:
    install(tmp_path, "Cow_Say-6.1", "REQUESTED", "METADATA")
    install(tmp_path, "needed-1.0+cpu")
    install(tmp_path, "mine-0.1", "REQUESTED", "direct_url.json")
    install(tmp_path, "numpy-1.26.4", "REQUESTED")

    assert installed_by_hand(tmp_path, "3.13", {"numpy"}) == [
        ByHand("cow-say", "6.1"),
        ByHand("mine", "0.1", from_index=False),
        ByHand("needed", "1.0+cpu", requested=False),
        ByHand("numpy", "1.26.4", hidden=True),
    ]


def test_those_for_another_python_count_where_that_is_not_known(tmp_path: Path) -> None:
    install(tmp_path, "a-1", site=".local/lib/python3.11/site-packages")
    install(tmp_path, "b-1")

    assert [package.name for package in installed_by_hand(tmp_path, "3.13")] == ["b"]
    assert [package.name for package in installed_by_hand(tmp_path, None)] == ["a", "b"]


def test_an_empty_home_has_none(tmp_path: Path) -> None:
    assert installed_by_hand(tmp_path, None) == []
    assert installed_by_hand(tmp_path / "not there", None) == []


@pytest.mark.parametrize("link", [".local", ".local/lib", ".local/lib/python3.13", SITE])
def test_a_link_leads_nowhere(tmp_path: Path, link: str) -> None:
    """Or a desk could show what is elsewhere on the host."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    install(elsewhere, "secret-1")
    (home / link).parent.mkdir(parents=True)
    (home / link).symlink_to(elsewhere / link)

    assert installed_by_hand(home, "3.13") == []


def test_what_only_looks_like_a_package_is_none(tmp_path: Path) -> None:
    site = tmp_path / SITE
    install(tmp_path, "right-1")
    for name in ("-1", "noversion", "bad name-1", "x-\x1b[2J1", "é-1", "x-1\n", "x-" + "1" * 100, "x-abc"):
        (site / f"{name}.dist-info").mkdir()
    (site / "wrong-1..0.dist-info").mkdir()
    (site / "file-1.dist-info").touch()
    os.mkfifo(site / "pipe-1.dist-info")
    (site / "link-1.dist-info").symlink_to(site / "right-1.dist-info")
    os.mkdir(os.fsencode(site) + b"/\xff-1.dist-info")

    assert [package.name for package in installed_by_hand(tmp_path, "3.13")] == ["right"]


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), max_size=30)))
def test_whatever_names_there_are_what_is_told_can_be_printed(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in {name for name in names if len(name.encode()) < 200}:
        (home / SITE / f"{name}-1.dist-info").mkdir(parents=True, exist_ok=True)

    for package in installed_by_hand(home, None):
        assert str(package).isascii()
        assert str(package).isprintable()


def test_a_desks_packages_are_compared_with_the_lock_it_was_opened_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path))
    desk = claim("term1", Owner(tmp_path, "cpu"), fixed=True)
    install(desk.home, "numpy-1.26.4")
    install(desk.home, "old-1", site=".local/lib/python3.11/site-packages")
    (desk.folder / "keep").mkdir()
    kept = desk.folder / "keep" / "hotdesk.lock"

    kept.write_bytes(b"\xff")
    unknown = outside_lock(find("term1"))
    kept.write_bytes(read_template("sdcnd-term1").lock_path.read_bytes())

    assert host_platform() in kept.read_text()
    assert [(package.name, package.hidden) for package in unknown] == [("numpy", False), ("old", False)]
    assert [(package.name, package.hidden) for package in outside_lock(desk)] == [("numpy", True)]
    assert [each.name for each in outside_lock(replace(desk, labels={}))] == ["numpy", "old"]
