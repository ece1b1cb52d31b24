"""A built wheel has one canonical form; a failed build says what to do."""

from __future__ import annotations

import csv
import hashlib
import re
import struct
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest

from hotdesk.build.sdist import build_failure, write_canonical_wheel
from hotdesk.errors import BuildRequiredError
from hotdesk.keys import built_key
from hotdesk.layers.wheels import wheel_entries

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = {
    "x/__init__.py": (b"", 0o644),
    "x/tool.sh": (b"#!/bin/sh\n", 0o775),
    "x-1.0.dist-info/METADATA": (b"Metadata-Version: 2.1\nName: x\nVersion: 1.0\n", 0o600),
    "x-1.0.dist-info/WHEEL": (b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", 0o644),
    "x-1.0.dist-info/RECORD": (b"x/__init__.py,,\n", 0o644),
}


def write(path: Path, names: list[str], year: int, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as wheel:
        for name in names:
            content, mode = MEMBERS[name]
            member = zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0))
            member.external_attr = (0o100000 | mode) << 16
            member.compress_type = compression
            wheel.writestr(member, content)
    return path


@pytest.fixture
def canonical(tmp_path: Path) -> Path:
    source = write(tmp_path / "a.whl", list(MEMBERS), 2001, zipfile.ZIP_DEFLATED)
    target = tmp_path / "x-1.0-py3-none-any.whl"
    write_canonical_wheel(source, target)
    return target


def test_order_times_and_compression_of_the_build_make_no_difference(tmp_path: Path, canonical: Path) -> None:
    other = write(tmp_path / "b.whl", sorted(MEMBERS, reverse=True), 2026, zipfile.ZIP_STORED)
    again = tmp_path / "again.whl"

    write_canonical_wheel(other, again)

    assert again.read_bytes() == canonical.read_bytes()


def test_content_and_executable_files_stay(canonical: Path) -> None:
    with zipfile.ZipFile(canonical) as wheel:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in wheel.infolist()}
        assert wheel.read("x/tool.sh") == b"#!/bin/sh\n"
        assert wheel.testzip() is None

    assert modes["x/tool.sh"] == 0o755
    assert modes["x-1.0.dist-info/METADATA"] == 0o644


def test_record_states_every_file_as_it_is(canonical: Path) -> None:
    with zipfile.ZipFile(canonical) as wheel:
        rows = list(csv.reader(wheel.read("x-1.0.dist-info/RECORD").decode().splitlines()))
        names = set(wheel.namelist())

    assert {row[0] for row in rows} == names
    assert list(wheel_entries(canonical, "3.13")), "hotdesk's own reader accepts it, hashes included"


def test_a_build_without_record_is_no_wheel(tmp_path: Path) -> None:
    source = write(tmp_path / "a.whl", ["x/__init__.py"], 2001, zipfile.ZIP_STORED)

    with pytest.raises(BuildRequiredError, match="made no wheel"):
        write_canonical_wheel(source, tmp_path / "b.whl")


def test_a_wheel_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.whl", list(MEMBERS), 2001, zipfile.ZIP_DEFLATED)
    content = bytearray(source.read_bytes())
    for entry in re.finditer(rb"PK\x01\x02", bytes(content)):
        struct.pack_into("<L", content, entry.start() + 24, (4 << 30) - 2)  # its size when unpacked
    source.write_bytes(content)

    with pytest.raises(BuildRequiredError, match="made no wheel") as caught:
        write_canonical_wheel(source, tmp_path / "b.whl")

    assert "8 GiB" in caught.value.why


def test_a_large_member_is_copied_in_small_pieces(tmp_path: Path) -> None:
    source = write(tmp_path / "a.whl", list(MEMBERS), 2001, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("x/zeros", bytes(64 << 20))

    tracemalloc.start()
    try:
        write_canonical_wheel(source, tmp_path / "b.whl")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 16 << 20


def test_a_link_in_place_of_a_wheel_is_not_followed(tmp_path: Path) -> None:
    source = write(tmp_path / "a.whl", list(MEMBERS), 2001, zipfile.ZIP_DEFLATED)
    (tmp_path / "link.whl").symlink_to(source)

    with pytest.raises(BuildRequiredError, match="made no wheel"):
        write_canonical_wheel(tmp_path / "link.whl", tmp_path / "b.whl")


COMPILER = 'add "build-essential" and "python3-dev"'


@pytest.mark.parametrize(
    ("log", "cure"),
    [
        ("error: [Errno 2] No such file or directory: 'x86_64-linux-gnu-gcc'", COMPILER),
        ("error: command 'x86_64-linux-gnu-g++' failed: No such file", COMPILER),
        ("x.c:3:10: fatal error: Python.h: No such file or directory", 'add "python3-dev"'),
        ("a.c:1: fatal error: libpq-fe.h: No such file or directory", "that holds `libpq-fe.h`"),
        ("/bin/sh: 1: cmake: not found", 'add "cmake"'),
        ("something else", "add what the build misses"),
    ],
)
def test_a_failed_build_names_package_platform_and_cure(log: str, cure: str) -> None:
    error = build_failure("x-1.0.tar.gz", "Python 3.13.5 on linux/amd64", f"first\nwarning: chatter\n{log}\n")

    assert "`x-1.0.tar.gz` has no wheel for Python 3.13.5 on linux/amd64" in error.what
    assert log in error.why
    assert "chatter" not in error.why
    assert cure in error.hint
    assert "or choose a version that has wheels" in error.hint


def test_what_goes_into_a_build_names_its_result() -> None:
    one, other = (hashlib.sha256(text).hexdigest() for text in (b"a", b"b"))

    assert built_key(one, [one, other], "base") == built_key(one, [other, one], "base")
    assert (
        len({built_key(one, [], "base"), built_key(other, [], "base"), built_key(one, [], "newer base")}) == 3
    )
