"""Headers are read by others as they were meant, and are the same bytes for ever."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotdesk.oci import tar

NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=90
).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)


def read(data: bytes) -> tarfile.TarInfo:
    with tarfile.open(fileobj=io.BytesIO(data + tar.END)) as archive:
        (member,) = archive.getmembers()
        return member


@given(path=PATHS, mode=st.integers(0, 0o7777), uid=st.integers(0, 65534))
def test_a_directory_is_read_as_it_was_written(path: str, mode: int, uid: int) -> None:
    member = read(tar.header("directory", path, mode=mode, uid=uid, gid=uid))

    assert member.isdir()
    assert (member.name, member.mode, member.uid, member.gid) == (path, mode, uid, uid)
    assert member.mtime == tar.MTIME


@given(path=PATHS, target=PATHS)
def test_a_link_is_read_as_it_was_written(path: str, target: str) -> None:
    member = read(tar.header("link", path, mode=0o777, target=target))

    assert member.issym()
    assert (member.name, member.linkname) == (path, target)


def test_a_file_larger_than_ustar_can_say_has_a_record_for_its_size() -> None:
    header = tar.header("file", "huge", mode=0o644, size=9 << 30)

    assert len(header) == 3 * tar.BLOCK
    assert b"19 size=9663676416\n" in header


@pytest.mark.parametrize(("length", "blocks"), [(100, 1), (101, 3)])
def test_a_record_only_where_one_must_be(length: int, blocks: int) -> None:
    assert len(tar.header("file", "x" * length, mode=0o644)) == blocks * tar.BLOCK
    assert len(tar.header("file", f"{'d' * length}/x", mode=0o644)) == tar.BLOCK


def test_a_record_counts_its_own_length_also_where_that_adds_a_digit() -> None:
    for length in range(80, 120):
        name = "é" * length
        assert read(tar.header("file", name, mode=0o644)).name == name


@pytest.mark.parametrize("number", [8**7 - 1, 8**7, 2_000_000_001])
def test_a_user_of_any_number_owns_what_is_its(number: int) -> None:
    member = read(tar.header("file", "mail", mode=0o640, uid=number, gid=8))

    assert (member.uid, member.gid) == (number, 8)


def test_content_ends_at_a_block() -> None:
    assert [len(tar.padding(size)) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]


def test_the_bytes_never_change() -> None:
    headers = [
        tar.header("file", "opt/desk/bin/tool", mode=0o755, size=12),
        tar.header("directory", "usr/share/" + "long/" * 60, mode=0o2775, uid=0, gid=50),
        tar.header("link", "opt/ü", mode=0o777, target="t" * 120),
        tar.header("file", "huge", mode=0o644, size=9 << 30),
    ]

    assert (
        hashlib.sha256(b"".join(headers)).hexdigest()
        == "273ecc988f194970731ccb73bae09f65d7391626d0f93ddfdce73b53db931f95"
    )
