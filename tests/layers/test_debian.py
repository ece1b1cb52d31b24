from __future__ import annotations

import lzma
import tarfile
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.layers.debs import ar, control, directory, hard_link, link, member, tar, write_deb

from hotdesk.errors import UnsafeArchiveError
from hotdesk.layers.debian import Member, Ownership, merged_path, open_deb


def read(deb: Path) -> list[tuple[Member, bytes]]:
    with open_deb(deb) as archive:
        return [(found, b"".join(content)) for found, content in archive.members()]


@pytest.mark.parametrize("compression", [".xz", ".gz", ""])
def test_a_deb_gives_its_members_in_order_with_their_bytes(tmp_path: Path, compression: str) -> None:
    large = bytes(range(256)) * 20_000
    deb = write_deb(
        tmp_path / "a.deb",
        [directory("./"), directory("./usr/"), member("./usr/small", b"text"), member("./usr/large", large)],
        compression=compression,
    )

    assert [(found.path, found.kind, content) for found, content in read(deb)] == [
        ("usr", "directory", b""),
        ("usr/small", "file", b"text"),
        ("usr/large", "file", large),
    ]


def test_owner_and_full_mode_come_from_the_header(tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [member("./usr/su", b"x", mode=0o4755, gid=42)])

    assert read(deb)[0][0].owner == Ownership(0, 42, 0o4755)


def test_the_control_part_is_read_as_a_whole(tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "a.deb", [], name="tool", files={"postinst": b"#!/bin/sh\n"})

    with open_deb(deb) as archive:
        assert set(archive.control) == {"control", "postinst"}
        assert archive.control["control"].startswith(b"Package: tool\n")


def test_names_longer_than_a_tar_header_are_whole(tmp_path: Path) -> None:
    name = "usr/" + "long/" * 40 + "name"
    deb = write_deb(tmp_path / "a.deb", [member(f"./{name}", b"x"), link("./usr/link", "t" * 300)])

    assert [(found.path, found.target) for found, _ in read(deb)] == [(name, ""), ("usr/link", "t" * 300)]


def test_paths_follow_the_links_of_merged_usr_and_keep_their_own_spelling(tmp_path: Path) -> None:
    deb = write_deb(
        tmp_path / "a.deb",
        [directory("./lib/"), member("./lib/libx.so", b"x"), hard_link("./bin/y", "./lib/libx.so")],
    )

    assert [(found.path, found.listed, found.target) for found, _ in read(deb)] == [
        ("usr/lib", "lib", ""),
        ("usr/lib/libx.so", "lib/libx.so", ""),
        ("usr/bin/y", "bin/y", "usr/lib/libx.so"),
    ]
    assert merged_path("library/x") == "library/x"


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([member("../etc/passwd")], "outside"),
        ([member("./usr/../../etc")], "outside"),
        ([member("/etc/passwd")], "outside"),
        ([member("./usr/new\nline")], "outside"),
        ([link("./usr/out", "/etc"), member("./usr/out/passwd")], "not a directory"),
        ([link("./lib", "/etc"), member("./lib/passwd")], "makes 'lib' a link"),
        ([member("./lib", b"file")], "not a directory"),
        ([link("./a", "b"), directory("./a/")], "twice"),
        ([member("./a"), member("./a")], "twice"),
        ([member("./lib/a"), member("./usr/lib/a")], "twice"),
        ([directory("./a/"), link("./a", "/")], "twice"),
        ([hard_link("./a", "/etc/passwd")], "outside"),
        ([hard_link("./a", "../b")], "outside"),
        ([hard_link("./a", "./b")], "not a file in it"),
        ([link("./b", "/etc/passwd"), hard_link("./a", "./b")], "not a file in it"),
        ([member("./dev/sda", kind=tarfile.BLKTYPE)], "device"),
        ([member("./dev/null", kind=tarfile.CHRTYPE)], "device"),
        ([member("./pipe", kind=tarfile.FIFOTYPE)], "device"),
        ([link("./a", "")], "link to nothing"),
    ],
)
def test_what_could_leave_the_tree_is_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], why: str
) -> None:
    deb = write_deb(tmp_path / "bad.deb", members)

    with pytest.raises(UnsafeArchiveError, match=why):
        read(deb)


CONTROL = ("control.tar.xz", lzma.compress(tar([member("./control", control("x"))])))
DATA = ("data.tar.xz", lzma.compress(tar([member("./usr/x", b"x" * 5000)])))
VERSION = ("debian-binary", b"2.0\n")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not an ar archive"),
        (b"PK\x03\x04", "not an ar archive"),
        (ar([]), "not a .deb of format 2"),
        (ar([("debian-binary", b"3.0\n"), CONTROL, DATA]), "not a .deb of format 2"),
        (ar([VERSION, DATA, CONTROL]), "comes where it must not"),
        (ar([VERSION, CONTROL]), "ends before its data"),
        (ar([VERSION, CONTROL, CONTROL, DATA]), "comes where it must not"),
        (ar([VERSION, ("control.tar.xz", lzma.compress(tar([]))), DATA]), "no `control`"),
        (ar([VERSION, CONTROL, ("data.tar.rar", b"x")]), "unknown way"),
        (ar([VERSION, CONTROL, ("data.tar.xz", b"not xz at all")]), "corrupt"),
        (ar([VERSION, CONTROL, ("data.tar.xz", DATA[1][:-40])]), "cut off|does not end|corrupt"),
        (ar([VERSION, CONTROL, ("data.tar.xz", DATA[1] + b"more")]), "does not end"),
        (ar([VERSION, CONTROL, ("data.tar", tar([member("./x", b"x" * 5000)])[:3000])]), "cut off"),
        (ar([VERSION, CONTROL, ("data.tar", b"\x01" * 1024)]), "tar header is broken"),
        (ar([VERSION, CONTROL, DATA])[:-60], "cut off"),
    ],
)
def test_a_file_that_lies_about_itself_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    deb = tmp_path / "bad.deb"
    deb.write_bytes(content)

    with pytest.raises(UnsafeArchiveError, match=why):
        read(deb)


def test_a_control_part_with_a_path_or_a_link_is_refused(tmp_path: Path) -> None:
    for bad in (member("./../x"), member("./a/b"), link("./md5sums", "/etc/passwd"), member("./control")):
        deb = tmp_path / "bad.deb"
        parts = lzma.compress(tar([member("./control", control("x")), bad]))
        deb.write_bytes(ar([VERSION, ("control.tar.xz", parts), DATA]))

        with pytest.raises(UnsafeArchiveError, match="control part"):
            read(deb)


def test_a_bomb_in_the_control_part_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("./bomb")
    info.size = 1 << 25
    deb = tmp_path / "bomb.deb"
    deb.write_bytes(ar([VERSION, ("control.tar.xz", lzma.compress(info.tobuf(tarfile.GNU_FORMAT))), DATA]))

    with pytest.raises(UnsafeArchiveError, match="too large"):
        read(deb)


def test_a_file_that_a_part_of_this_size_cannot_hold_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("./bomb")
    info.size = 2 << 30
    deb = tmp_path / "bomb.deb"
    deb.write_bytes(ar([VERSION, CONTROL, ("data.tar.xz", lzma.compress(info.tobuf(tarfile.GNU_FORMAT)))]))

    with pytest.raises(UnsafeArchiveError, match="bomb"):
        read(deb)


def test_a_part_that_never_ends_is_refused_while_it_streams(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(tar([])) + packer.flush(zlib.Z_FULL_FLUSH)
    mebibyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    deb = tmp_path / "bomb.deb"
    deb.write_bytes(ar([VERSION, CONTROL, ("data.tar.gz", start + 1100 * mebibyte)]))

    with pytest.raises(UnsafeArchiveError, match="bomb"):
        read(deb)


def test_pieces_stay_small_however_well_a_file_compresses(tmp_path: Path) -> None:
    deb = write_deb(tmp_path / "zeros.deb", [member("./zeros", bytes(10_000_000))])

    with open_deb(deb) as archive:
        sizes = [len(piece) for _, content in archive.members() for piece in content]

    assert sum(sizes) == 10_000_000
    assert max(sizes) <= 1 << 20


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_an_error_of_ours_or_does_no_harm(data: st.DataObject) -> None:
    whole = ar([VERSION, CONTROL, ("data.tar", tar([directory("./usr/"), member("./usr/x", b"content")]))])
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[position] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        deb = Path(folder, "damaged.deb")
        deb.write_bytes(damaged)
        try:
            for found, _ in read(deb):
                assert not found.path.startswith("/")
                assert ".." not in found.path.split("/")
        except UnsafeArchiveError:
            pass
