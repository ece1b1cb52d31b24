from __future__ import annotations

import contextlib
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.oci.images import archive, info, tree

from hotdesk.errors import UnsafeArchiveError
from hotdesk.oci.tar import END, header
from hotdesk.oci.untar import Header, members


def read(tar: bytes, step: int = 700) -> list[tuple[Header, bytes]]:
    chunks = (tar[start : start + step] for start in range(0, len(tar), step))
    return [(member, b"".join(content)) for member, content in members(chunks)]


def reason(tar: bytes) -> str:
    with pytest.raises(UnsafeArchiveError) as caught:
        read(tar)
    return caught.value.what.partition(": ")[2]


def patched(tar: bytes, at: int, value: bytes) -> bytes:
    """The archive with bytes of its first header changed, and a checksum that goes with it."""
    block = bytearray(tar[:512])
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + tar[512:]


def test_what_the_layer_writer_packs_is_read_back() -> None:
    long = "/".join(["folder"] * 40) + "/ü"
    tar = (
        header("directory", "etc", mode=0o755, uid=7, gid=8)
        + header("file", long, mode=0o4755, size=3)
        + b"abc".ljust(512, b"\0")
        + header("link", "etc/l", mode=0o777, target="../x")
        + END
    )

    assert read(tar) == [
        (Header("etc", "directory", 0o755, 7, 8, 0, 315532800), b""),
        (Header(long, "file", 0o4755, 0, 0, 3, 315532800), b"abc"),
        (Header("etc/l", "link", 0o777, 0, 0, 0, 315532800, "../x"), b""),
    ]


@pytest.mark.parametrize("pax", [False, True])
def test_long_names_large_numbers_and_fractions_of_seconds_are_understood(pax: bool) -> None:
    member = info(f"{'long/' * 50}name")
    member.uid, member.mtime = 3_000_000, 1_700_000_000.5 if pax else 1_700_000_000
    link = info("l", tarfile.SYMTYPE, "t" * 150)

    (found, content), (found_link, _) = read(archive((member, b"content"), link, pax=pax))

    assert (found.path, content) == (f"{'long/' * 50}name", b"content")
    assert (found.uid, found.mtime) == (3_000_000, 1_700_000_000)
    assert found_link.target == "t" * 150


def test_paths_are_without_detours() -> None:
    paths = [member.path for member, _ in read(tree({"./": None, "./a//b/./c": b"", "d/": None}))]

    assert paths == ["", "a/b/c", "d"]


def test_content_that_nobody_reads_is_passed_over() -> None:
    found = [member.path for member, _ in members([tree({"a": bytes(5000), "b": b"1", "c": b""})])]

    assert found == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a/.."])
def test_a_path_that_leaves_the_tree_is_refused(name: str) -> None:
    assert reason(tree({name: b""})) == "a member would land outside of its tree"


def test_a_hard_link_that_leaves_the_tree_is_refused() -> None:
    assert reason(archive(info("a", tarfile.LNKTYPE, "../x"))) == "a member would land outside of its tree"
    assert reason(archive(info("a", tarfile.LNKTYPE, "/x"))) == "a member would land outside of its tree"


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"V", "something unknown"),
    ],
)
def test_what_no_desk_needs_is_refused(kind: bytes, word: str) -> None:
    assert reason(archive(info("dev/sda", kind))) == f"it holds {word}"


def test_names_that_no_file_system_holds_are_refused() -> None:
    assert reason(tree({"n" * 256: b""})) == "a name is too long"
    assert reason(tree({"a/" * 200 + "b": b""})) == "a path is too long"
    assert reason(tree({"file/": b"x"})) == "something that is no directory has a directory's name"


def test_a_link_to_nothing_is_refused() -> None:
    assert reason(archive(info("a", tarfile.SYMTYPE, ""))) == "a link leads nowhere"


@pytest.mark.parametrize(
    ("at", "value"),
    [(124, b"0000000000x\0"), (124, b"\xff" * 12), (108, b"-000001\0"), (136, b"1e9         ")],
    ids=["size", "negative size", "owner", "time"],
)
def test_a_field_that_is_no_number_is_refused(at: int, value: bytes) -> None:
    assert reason(patched(tree({"a": b""}), at, value)) == "a field is no number"


def test_a_size_beyond_the_archive_is_refused() -> None:
    huge = patched(tree({"a": b"abc"}), 124, b"\x80" + b"\0" * 3 + b"\x7f" * 8)

    assert reason(huge) == "its archive is cut short"


def test_a_directory_or_link_with_content_is_refused() -> None:
    assert reason(patched(tree({"a": None}), 124, b"00000001000\0")) == (
        "something that is no file has a content"
    )


def test_a_damaged_header_is_refused() -> None:
    tar = bytearray(tree({"a": b""}))
    tar[0] ^= 1

    assert reason(bytes(tar)) == "a header is damaged"


@pytest.mark.parametrize("kept", [100, 512, 700, 1024, 1536])
def test_an_archive_that_is_cut_short_is_refused(kept: int) -> None:
    tar = (header("file", "a", mode=0o644, size=600) + b"x" * 600).ljust(1536, b"\0") + END

    assert reason(tar[:kept]) == "its archive is cut short"


def test_what_follows_the_end_is_refused() -> None:
    assert read(tree({"a": b""}) + bytes(20480))
    assert reason(tree({"a": b""}) + bytes(512) + b"x") == "its archive goes on after its end"


@pytest.mark.parametrize(
    "content",
    [b"30 path=x\n", b"10 path=x", b"x path=y\n", b"10 path_y\n", b"9999999 path=y\n", b"\n"],
)
def test_a_malformed_pax_header_is_refused(content: bytes) -> None:
    assert reason(pax(content)) == "a PAX header is not well-formed"


def test_pax_headers_that_tools_read_differently_are_refused() -> None:
    twice = b"9 path=x\n9 path=y\n"

    assert reason(pax(twice)) == "a PAX header has what no layer needs"
    assert reason(pax(b"22 GNU.sparse.major=1\n")) == "a PAX header has what no layer needs"
    assert reason(pax(b"9 path=x\n", b"g")) == "a global header changes all members"
    assert reason(pax(b"9 size=-1\n")) == "a PAX header is not well-formed"
    assert reason(pax(b"11 size=-1\n")) == "a field is no number"
    assert reason(patched(pax(b""), 124, b"77777777777\0")) == "a header is too large"


def test_headers_without_end_are_refused() -> None:
    one = pax(b"20 comment=nothing.\n")[:1024]

    assert [member.path for member, _ in read(one * 7 + tree({"a": b""}))] == ["a"]
    assert reason(one * 8 + tree({"a": b""})) == "a member has too many headers"


def pax(content: bytes, flag: bytes = b"x") -> bytes:
    head = patched(header("file", "h", mode=0o644, size=len(content)), 156, flag)
    return head + content + bytes(-len(content) % 512) + tree({"a": b""})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(UnsafeArchiveError):
        read(content)


_NAMES = st.sampled_from(
    ["a", "a/b", "../c", "/d", "e/", "f\n", "g\\h", ".wh.a", "a/../b", "ü" * 90, "n" * 101]
)
_KINDS = st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"7", b"S"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(_NAMES, _KINDS, _NAMES, st.binary(max_size=600)), max_size=6), st.booleans(), st.data()
)
def test_what_is_read_agrees_with_another_reader(
    rows: list[tuple[str, bytes, str, bytes]], pax: bool, data: st.DataObject
) -> None:
    """Where both take an archive, they take it for the same."""
    made: list[tuple[tarfile.TarInfo, bytes]] = [
        (info(name, kind, target), content if kind == b"0" else b"") for name, kind, target, content in rows
    ]
    tar = bytearray(archive(*made, pax=pax))
    for at in data.draw(st.lists(st.integers(0, len(tar) - 1), max_size=2)):
        tar[at] = data.draw(st.integers(0, 255))
    try:
        ours = [(member.path, member.size, content) for member, content in read(bytes(tar))]
    except UnsafeArchiveError:
        return
    with tarfile.open(fileobj=io.BytesIO(bytes(tar)), mode="r:") as other:
        theirs = []
        for member in other:
            file = other.extractfile(member) if member.isreg() else None
            content = file.read() if file else b""
            theirs.append((_normal(member.name), len(content), content))

    assert ours == theirs


def _normal(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))
