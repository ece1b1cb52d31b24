from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk import doctor
from hotdesk.engines.checks import no_nested_namespaces

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_that_is_not_there_yet_is_checked_where_it_will_be_made(tmp_path: Path) -> None:
    assert doctor.folder_is_writable("store", tmp_path / "a" / "b").ok
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    check = doctor.folder_is_writable("store", tmp_path / "file")

    assert not check.ok
    assert str(tmp_path / "file") in check.why
    assert "HOTDESK_STORE" in check.cure


def test_space_is_told_in_gib(tmp_path: Path) -> None:
    assert f"GiB free at {tmp_path}" in doctor.folder_has_space("store", tmp_path).why


def test_where_proc_cannot_be_written_a_desk_opens_with_less_protection(tmp_path: Path) -> None:
    check = no_nested_namespaces(tmp_path)

    assert (check.ok, check.needed) == (False, False)
