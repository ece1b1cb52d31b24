from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.indexes.uv_files import ListedIndex, bare, listed_indexes

if TYPE_CHECKING:
    from pathlib import Path


def test_what_uv_does_not_tell_of_an_index_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text(
        'find-links = ["wheels"]\n[pip]\nfind-links = ["more"]\n'
        '[[index]]\nname = "a"\nurl = "./a"\nformat = "flat"\n[[index]]\nurl = "https://b.example"\n'
    )

    assert list(listed_indexes({"UV_CONFIG_FILE": str(tmp_path / "uv.toml")})) == [
        ListedIndex("./a", tmp_path, "index", "a", flat=True),
        ListedIndex("https://b.example", tmp_path, "index"),
        ListedIndex("wheels", tmp_path, "find-links", flat=True),
        ListedIndex("more", tmp_path, "find-links", flat=True),
    ]


@pytest.mark.parametrize("text", ["no toml", "pip = 1\nindex = [1]\nfind-links = [2]", "x = " + "[" * 9999])
def test_what_is_not_understood_is_for_uv_to_explain(text: str, tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text(text)

    assert list(listed_indexes({"UV_CONFIG_FILE": str(tmp_path / "uv.toml")})) == []


def test_addresses_are_compared_without_their_login() -> None:
    assert bare("https://me:secret@one.example/simple/") == bare("https://one.example/simple")
