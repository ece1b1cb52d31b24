from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import FetchError, GoneError
from hotdesk.indexes.http import get, make_client

if TYPE_CHECKING:
    from pathlib import Path


def read(url: str) -> tuple[str, bytes]:
    with make_client() as client:
        page = get(client, url)
    return page.content_type, page.body


def test_a_file_is_read_like_an_answer(tmp_path: Path) -> None:
    file = tmp_path / "a b%.whl"
    file.write_bytes(bytes(600_000))

    assert read(file.as_uri()) == ("application/octet-stream", bytes(600_000))


def test_a_folder_answers_with_its_index_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<a href=x>x</a>")

    assert read(tmp_path.as_uri()) == ("text/html", b"<a href=x>x</a>")
    assert read(f"{tmp_path.as_uri()}/index.html") == ("text/html", b"<a href=x>x</a>")


def test_a_folder_without_one_answers_with_what_is_in_it(tmp_path: Path) -> None:
    for name in ("b&<.whl", "a b.whl"):
        (tmp_path / name).write_text("")

    assert read(tmp_path.as_uri())[1] == (
        b'<a href="a%20b.whl">a b.whl</a>\n<a href="b%26%3C.whl">b&amp;&lt;.whl</a>'
    )


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    with pytest.raises(GoneError, match=f"{tmp_path.as_uri()}/none cannot be downloaded"):
        read(f"{tmp_path.as_uri()}/none")


def test_files_of_other_hosts_are_none_of_ours() -> None:
    with pytest.raises(FetchError, match=r"a file on another host; write file:///"):
        read("file://server/share/x.whl")
