"""A layer's two forms are one archive, whatever its files come from, and the same bytes for ever."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.layers.wheelhouse import WHEEL, write_wheel

from hotdesk.errors import UnsafeArchiveError
from hotdesk.layers.entries import Directory, File, Link
from hotdesk.layers.wheels import wheel_entries
from hotdesk.oci.layer import Member, blob_chunks, in_order, marks, measure, roots, tar_chunks

if TYPE_CHECKING:
    from pathlib import Path

    from hotdesk.layers.entries import Entry


def file(path: str, content: bytes, *, executable: bool = False) -> File:
    return File(path, len(content), lambda: iter((content,)), executable=executable)


def archive(members: list[Member]) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_chunks(members)))) as read:
        return {member.name: member for member in read.getmembers()}


def test_the_blob_holds_the_archive_and_both_are_measured(tmp_path: Path) -> None:
    content = {
        "a-1.dist-info/WHEEL": WHEEL,
        "a/module.py": b"x = 1\n" * 1000,
        "a/empty.py": b"",
        "a/b.bin": b"\0",
    }
    wheel = write_wheel(tmp_path / "a-1-py3-none-any.whl", content)
    members = in_order(roots([*wheel_entries(wheel, "3.13"), file("note", b"made here" * 1000)]))

    blob, tar = b"".join(blob_chunks(members)), b"".join(tar_chunks(members))
    found = measure(members)

    assert gzip.decompress(blob) == tar
    assert (found.digest, found.size) == (hashlib.sha256(blob).hexdigest(), len(blob))
    assert (found.diff_id, found.tar_size) == (hashlib.sha256(tar).hexdigest(), len(tar))


def test_what_a_wheel_holds_compressed_is_copied_not_compressed(tmp_path: Path) -> None:
    source = b"".join(b"%d\n" % number for number in range(50_000))
    wheel = write_wheel(tmp_path / "a-1-py3-none-any.whl", {"a-1.dist-info/WHEEL": WHEEL, "a.txt": source})
    entries = list(wheel_entries(wheel, "3.13"))
    (copied,) = [entry for entry in entries if isinstance(entry, File) and entry.path.endswith("/a.txt")]
    assert copied.deflated
    stream = b"".join(copied.deflated.chunks())

    blob = b"".join(blob_chunks(in_order(roots(entries))))

    assert len(stream) > 10_000
    assert stream in blob


def test_members_are_in_the_order_of_their_bytes_with_all_parents() -> None:
    members = in_order(roots([file("b/é", b""), file("b/z/deep", b""), file("B", b""), Link("a", "b")]))

    assert [member.entry.path for member in members] == ["B", "a", "b", "b/z", "b/z/deep", "b/é"]


def test_modes_and_owners_are_the_members_own() -> None:
    entries: list[Entry] = [
        file("tool", b"", executable=True),
        file("text", b""),
        Directory("d"),
        Link("l", "d"),
    ]
    members = [*roots(entries), Member(Directory("spool"), 0o3775, 8, 12)]

    found = archive(in_order(members))

    assert {name: member.mode for name, member in found.items()} == {
        "d": 0o755, "l": 0o777, "spool": 0o3775, "text": 0o644, "tool": 0o755,
    }  # fmt: skip
    assert (found["spool"].uid, found["spool"].gid) == (8, 12)
    assert {(member.uid, member.uname) for name, member in found.items() if name != "spool"} == {(0, "")}


@pytest.mark.parametrize(
    "entries",
    [
        [file("a", b""), file("a", b"")],
        [file("a", b""), file("a/b", b"")],
        [Link("a", "/"), file("a/b", b"")],
        [file("a/.wh.b", b"")],
        [file("a/.wh..wh..opq", b"")],
        [file("a/.wh.b/x", b"")],
        [file(".wh..wh..opq/x", b"")],
    ],
    ids=["twice", "below a file", "through a link", "whiteout", "opaque", "its folder", "opaque folder"],
)
def test_what_an_engine_would_read_otherwise_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(UnsafeArchiveError, match="no layer can hold"):
        in_order(roots(entries))


def test_a_file_that_is_not_what_it_claims_fails_the_measuring(tmp_path: Path) -> None:
    wheel = write_wheel(
        tmp_path / "a-1-py3-none-any.whl", {"a-1.dist-info/WHEEL": WHEEL, "a.py": b"honest = 1\n"}
    )
    with zipfile.ZipFile(wheel) as opened:
        member = opened.getinfo("a.py")
    data = bytearray(wheel.read_bytes())
    data[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 1
    wheel.write_bytes(data)

    with pytest.raises(UnsafeArchiveError):
        measure(in_order(roots(wheel_entries(wheel, "3.13"))))


def test_marks_tell_which_made_file_differs() -> None:
    before = in_order(roots([file("a", b"1"), file("b", b"2"), file("c", b"3")]))
    after = in_order(roots([file("a", b"1"), file("b", b"4"), file("c", b"3")]))

    one, other = marks(before), marks(after)

    assert len(one) == len(other) == 6
    assert [one[at : at + 2] == other[at : at + 2] for at in (0, 2, 4)] == [True, False, True]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.binary(max_size=3000), min_size=1))
def test_any_files_are_read_back(files: dict[str, bytes]) -> None:
    members = in_order(roots(file(path, content) for path, content in files.items()))

    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(b"".join(blob_chunks(members))))) as read:
        found = {
            member.name: (read.extractfile(member) or io.BytesIO()).read() for member in read.getmembers()
        }

    assert found == files


def test_the_bytes_never_change(tmp_path: Path) -> None:
    """A change here changes the digest of every image ever built: it needs another recipe, and a reason."""
    members = in_order(
        [
            *roots([file("made", b"".join(b"line %d\n" % number for number in range(200_000)))]),
            *roots([Directory("opt/desk"), Link("opt/desk/bin/python", "/usr/bin/python3.13")]),
            Member(file("spool", b"x"), 0o2664, 8, 12),
        ]
    )

    found = measure(members)

    assert found.diff_id == "908d7ced6ebc0dc1a863e6396b498df02a9357481833576663dff764e89fc70e"
    assert found.digest == "a8ea8e70c34f0ec2ea431c7aaac26911ee66e64a354a92ed73bd31a746a705cb"


def test_what_a_lower_layer_has_is_marked_as_gone() -> None:
    members = in_order(roots([file("etc/new", b"")]), ["etc/old", "var"])

    found = archive(members)

    assert list(found) == [".wh.var", "etc", "etc/.wh.old", "etc/new"]
    assert found["etc/.wh.old"].isreg()
    assert found["etc/.wh.old"].size == 0
