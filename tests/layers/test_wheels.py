from __future__ import annotations

import csv
import os
import stat
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.layers.wheelhouse import (
    DATA,
    INFO,
    WHEEL,
    patch_directory,
    patch_local,
    record_line,
    write_wheel,
)

from hotdesk.errors import UnsafeArchiveError
from hotdesk.keys import wheel_tree_key
from hotdesk.layers.contents import read_contents, verify_tree
from hotdesk.layers.entries import File
from hotdesk.layers.wheels import is_library, make_wheel_tree, wheel_entries
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

SITE = "lib/python3.13/site-packages"


def read(wheel: Path) -> dict[str, bytes]:
    entries = list(wheel_entries(wheel, "3.13"))
    return {entry.path: b"".join(entry.chunks()) for entry in entries if isinstance(entry, File)}


def files(wheel: Path) -> dict[str, File]:
    return {entry.path: entry for entry in wheel_entries(wheel, "3.13") if isinstance(entry, File)}


def refusal(wheel: Path) -> str:
    with pytest.raises(UnsafeArchiveError) as caught:
        read(wheel)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "odd-1.0-py3-none-any.whl"


def test_modules_go_to_site_packages(path: Path) -> None:
    assert read(write_wheel(path, {"odd/a.py": b"x = 1\n"}))[f"{SITE}/odd/a.py"] == b"x = 1\n"


@pytest.mark.parametrize(
    ("member", "installed"),
    [
        ("purelib/a.py", f"{SITE}/a.py"),
        ("platlib/b.so", f"{SITE}/b.so"),
        ("scripts/run", "bin/run"),
        ("headers/odd.h", "include/site/python3.13/odd/odd.h"),
        ("data/share/x.json", "share/x.json"),
        ("data/etc/y", "etc/y"),
    ],
)
def test_each_scheme_has_its_folder(path: Path, member: str, installed: str) -> None:
    assert read(write_wheel(path, {f"{DATA}/{member}": b"content"}))[installed] == b"content"


def test_an_unknown_scheme_is_refused(path: Path) -> None:
    assert "scheme" in refusal(write_wheel(path, {f"{DATA}/kernel/x": b""}))


@pytest.mark.parametrize(
    ("script", "installed"),
    [
        (b"#!python\nprint(1)\n", b"#!/opt/desk/bin/python\nprint(1)\n"),
        (b"#!pythonw\nprint(1)\n", b"#!/opt/desk/bin/python\nprint(1)\n"),
        (b"#!python -u\n" + b"#" * 3_000_000, b"#!/opt/desk/bin/python\n" + b"#" * 3_000_000),
        (b"#!python3\r\nprint(1)\r\n", b"#!/opt/desk/bin/python\nprint(1)\r\n"),
        (b"#!python", b"#!/opt/desk/bin/python\n"),
        (b"#!/bin/sh\n", b"#!/bin/sh\n"),
        (b"\x7fELF", b"\x7fELF"),
        (b"", b""),
    ],
)
def test_a_script_that_asks_for_the_interpreter_gets_its_path(
    path: Path, script: bytes, installed: bytes
) -> None:
    wheel = write_wheel(path, {f"{DATA}/scripts/run": script})

    assert read(wheel)["bin/run"] == installed
    assert files(wheel)["bin/run"].size == len(installed)
    assert files(wheel)["bin/run"].executable


def test_a_script_whose_first_line_has_no_end_is_refused(path: Path) -> None:
    assert "no end" in refusal(write_wheel(path, {f"{DATA}/scripts/run": b"#!python" * 100_000}))


def test_empty_folders_are_kept(path: Path, tmp_path: Path) -> None:
    wheel = write_wheel(path, {"odd/empty/": b""})
    item = make_wheel_tree(Store(tmp_path / "store"), wheel, "0" * 64, "3.13")

    assert (item / "tree" / SITE / "odd/empty").is_dir()


def test_pip_has_a_command_for_the_version_of_python_as_well(tmp_path: Path) -> None:
    points = b"[console_scripts]\npip = pip:main\npip3 = pip:main\n"
    wheel = write_wheel(tmp_path / "pip-1.0-py3-none-any.whl", {"pip-1.0.dist-info/entry_points.txt": points})

    commands = {path for path in read(wheel) if path.startswith("bin/")}

    assert commands == {"bin/pip", "bin/pip3", "bin/pip3.13"}


def test_entry_points_become_commands(path: Path) -> None:
    points = b"[console_scripts]\nOdd = odd.cli:Main.run\n[gui_scripts]\nodd-gui=odd:gui [x]\n[other]\na=b\n"
    found = read(write_wheel(path, {f"{INFO}/entry_points.txt": points}))

    assert found["bin/Odd"].startswith(b"#!/opt/desk/bin/python\n")
    assert b"from odd.cli import Main\n" in found["bin/Odd"]
    assert b"sys.exit(Main.run())" in found["bin/Odd"]
    assert b"from odd import gui\n" in found["bin/odd-gui"]
    assert not any(name.endswith("bin/a") for name in found)


@pytest.mark.parametrize(
    "line",
    ["../up = a:b", "a/b = c:d", "x = os; import evil:y", "x = a:b;c", "x = a", ".. = a:b", "python = a:b"],
)
def test_a_command_that_cannot_be_is_refused(path: Path, line: str) -> None:
    refusal(write_wheel(path, {f"{INFO}/entry_points.txt": f"[console_scripts]\n{line}\n".encode()}))


def test_a_command_takes_the_place_of_an_old_wrapper(path: Path) -> None:
    content = {
        f"{INFO}/entry_points.txt": b"[console_scripts]\nrun = odd:run\n",
        f"{DATA}/scripts/run": b"#!python\nold\n",
        f"{DATA}/scripts/run-script.py": b"#!python\nold\n",
        f"{DATA}/scripts/other": b"#!/bin/sh\n",
    }
    found = read(write_wheel(path, content))

    assert sorted(name for name in found if name.startswith("bin/")) == ["bin/other", "bin/run"]
    assert b"from odd import run" in found["bin/run"]


def test_only_the_executable_bit_survives(path: Path) -> None:
    modes = {"a": 0o100600, "b": 0o100711, "c": 0o104755, "d": 0o644}
    found = files(write_wheel(path, dict.fromkeys(modes, b"x"), modes=modes))

    assert [found[f"{SITE}/{name}"].executable for name in modes] == [False, True, True, False]


def test_the_new_record_lists_what_is_installed(path: Path) -> None:
    content = {
        "odd, or not.py": b"x",
        f"{DATA}/scripts/run": b"#!python\n",
        f"{DATA}/data/etc/y": b"y",
        f"{INFO}/entry_points.txt": b"[console_scripts]\ncall = odd:run\n",
    }
    found = read(write_wheel(path, content))
    rows = list(csv.reader(found[f"{SITE}/{INFO}/RECORD"].decode().splitlines()))

    assert {os.path.normpath(f"{SITE}/{row[0]}") for row in rows} == set(found)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    for name, stated, size in rows:
        installed = found[os.path.normpath(f"{SITE}/{name}")]
        if not name.endswith("/RECORD"):
            assert record_line("", installed) == f",{stated},{size}\n"
    assert found[f"{SITE}/{INFO}/INSTALLER"] == b"hotdesk"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_strong_hashes_are_taken(path: Path, algorithm: str) -> None:
    assert read(write_wheel(path, {"a": b"x"}, algorithm=algorithm))[f"{SITE}/a"] == b"x"


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha224"])
def test_weak_hashes_are_refused(path: Path, algorithm: str) -> None:
    assert algorithm in refusal(write_wheel(path, {"a": b"x"}, algorithm=algorithm))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_members_of_any_size_come_whole_in_pieces_of_a_mebibyte(
    path: Path, size: int, compression: int
) -> None:
    content = (os.urandom(1000) * (size // 1000 + 1))[:size]
    entry = files(write_wheel(path, {"a": content}, compression=compression))[f"{SITE}/a"]
    pieces = list(entry.chunks())

    assert b"".join(pieces) == content
    assert max(map(len, pieces), default=0) <= 1 << 20
    assert entry.chunks is not None
    assert b"".join(entry.chunks()) == content  # and once more


def test_the_deflate_stream_of_the_wheel_can_be_had(path: Path) -> None:
    import zlib

    content = os.urandom(3_000_000) + b"x" * 1_000_000
    deflated = files(write_wheel(path, {"a": content}))[f"{SITE}/a"].deflated

    assert deflated
    packed = b"".join(deflated.chunks())
    assert zlib.decompress(packed, -15) == content
    assert (len(packed), zlib.crc32(content)) == (deflated.size, deflated.crc32)


def test_zip64_and_data_descriptors_are_read(path: Path, tmp_path: Path) -> None:
    plain = write_wheel(path, {"a": b"content"})
    streamed = tmp_path / "odd-1.0-1-py3-none-any.whl"

    class Pipe:
        def __init__(self, file: object) -> None:
            self.write, self.flush = file.write, file.flush  # type: ignore[attr-defined]

    with (
        zipfile.ZipFile(plain) as source,
        streamed.open("wb") as file,
        zipfile.ZipFile(Pipe(file), "w") as target,  # type: ignore[call-overload]
    ):
        for name in source.namelist():
            with target.open(name, "w", force_zip64=True) as member:
                member.write(source.read(name))
    assert read(streamed) == read(plain)


def drop(part: str) -> object:
    return lambda record: "".join(line for line in record.splitlines(True) if part not in line)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop("a.py"), "no hash for `a.py`"),
        (lambda record: record + record_line("ghost.py", b""), "lists `ghost.py`"),
        (lambda record: record.replace("a.py,sha256=", "a.py,sha256=AAAA"), "wrong length"),
        (lambda record: record.replace(record_line("a.py", b"x = 1\n"), record_line("a.py", b"x = 2\n")),
         "is not the one in RECORD"),
        (lambda record: record.replace(record_line("a.py", b"x = 1\n"), record_line("a.py", b"longer = 1\n")),
         "RECORD says it has 11 bytes"),
        (lambda record: record + record_line("a.py", b"x = 1\n"), "twice"),
        (lambda record: record + "a,b\n", "2 fields"),
        (lambda record: record.replace("a.py,sha256=", "a.py,sha256=!!"), "nonsense"),
        (lambda record: record.replace(record_line("a.py", b"x = 1\n"), "a.py,,\n"), "no hash for `a.py`"),
    ],
)  # fmt: skip
def test_a_record_that_lies_is_refused(path: Path, change: object, says: str) -> None:
    wheel = write_wheel(path, {"a.py": b"x = 1\n"}, record=change)  # type: ignore[arg-type]

    message = refusal(wheel)

    assert says in message
    assert "odd-1.0-py3-none-any.whl" in message


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/evil", "a\\..\\evil", "a//b", "./a", "a\nb", "n" * 256,
     f"{DATA}/data/../../evil", f"{DATA}/scripts/../../../evil", f"{DATA}/data/pyvenv.cfg",
     f"{DATA}/scripts/python3", f"{DATA}/x", "_hotdesk/__init__.py", "_hotdesk", "zzz_hotdesk.pth"],
)  # fmt: skip
def test_a_member_that_would_land_elsewhere_is_refused(path: Path, name: str) -> None:
    refusal(write_wheel(path, {name: b"evil"}))


@pytest.mark.parametrize("name", ["WHEEL", "RECORD", "entry_points.txt"])
def test_metadata_too_large_to_be_any_are_refused_before_they_are_read(path: Path, name: str) -> None:
    huge = bytes(33 << 20)
    if name == "RECORD":
        wheel = write_wheel(path, {}, record=lambda record: record + huge.decode())
    else:
        wheel = write_wheel(path, {f"{INFO}/{name}": huge})

    tracemalloc.start()
    message = refusal(wheel)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert "no metadata" in message
    assert peak < 8 << 20


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("odd-1.0-py3-none-any.whl", True),
        ("Odd-1.0.0-py3-none-any.whl", True),
        ("odd-1.0-7-py3-none-any.whl", True),
        ("even-1.0-py3-none-any.whl", False),
        ("odd-1.1-py3-none-any.whl", False),
        ("odd-1.0+local-py3-none-any.whl", False),
    ],
)
def test_a_wheel_of_another_project_or_version_than_its_name_says_is_refused(
    path: Path, tmp_path: Path, name: str, fits: bool
) -> None:
    renamed = write_wheel(path, {"a.py": b""}).rename(tmp_path / name)

    if fits:
        assert list(wheel_entries(renamed, "3.13"))
    else:
        assert "'odd-1.0'" in refusal(renamed)


def test_links_and_special_files_are_refused(path: Path) -> None:
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK):
        assert "link or a special" in refusal(write_wheel(path, {"a": b"/etc"}, modes={"a": kind | 0o777}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(path: Path) -> None:
    write_wheel(path, {"a": b"x"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a", b"y")

    assert "twice" in refusal(path)


def test_two_members_for_one_place_are_refused(path: Path, tmp_path: Path) -> None:
    wheel = write_wheel(path, {"a.py": b"x", f"{DATA}/platlib/a.py": b"y"})

    with pytest.raises(UnsafeArchiveError, match="twice"):
        make_wheel_tree(Store(tmp_path / "store"), wheel, "0" * 64, "3.13")


@pytest.mark.parametrize(
    ("where", "format_", "offset", "value"),
    [
        (patch_directory, "<H", 8, 1),  # encrypted
        (patch_directory, "<H", 10, 12),  # bzip2
        (patch_directory, "<L", 16, 0xBAD),  # CRC
        (patch_directory, "<L", 20, 3),  # compressed size
        (patch_directory, "<L", 24, 900),  # size, too small
        (patch_directory, "<L", 24, 1_001),  # size, too large
        (patch_directory, "<L", 24, 4_000_000_000),  # a bomb's claim
        (patch_directory, "<L", 42, 7),  # offset
        (patch_local, "<H", 8, 0),  # method
        (patch_local, "<L", 14, 0xBAD),  # CRC
        (patch_local, "<L", 18, 5),  # compressed size
        (patch_local, "<L", 22, 5),  # size
        (patch_local, "<H", 28, 9_999),  # extra length
        (patch_local, "5s", 30, b"other"),  # name
    ],
)
def test_a_zip_that_contradicts_itself_is_refused(
    path: Path, where: object, format_: str, offset: int, value: int | bytes
) -> None:
    wheel = write_wheel(path, {"first": b"x", "inner": b"text " * 200})

    refusal(where(wheel, "inner", format_, offset, value))  # type: ignore[operator]


def test_a_stream_longer_than_its_claim_is_refused_before_it_is_inflated(path: Path) -> None:
    wheel = write_wheel(path, {"a": b"\0" * 50_000_000}, record=lambda r: r.replace("50000000", "60000"))
    patch_directory(wheel, "a", "<L", 24, 60_000)
    patch_local(wheel, "a", "<L", 22, 60_000)
    entry = files(wheel)[f"{SITE}/a"]
    pieces: list[bytes] = []

    with pytest.raises(UnsafeArchiveError, match="more than the 60000 bytes"):
        pieces.extend(entry.chunks())
    assert sum(map(len, pieces)) <= 60_000


def test_what_is_no_zip_is_refused(path: Path) -> None:
    for content in (b"", b"PK", b"hello" * 100, b"PK\5\6" + b"\xff" * 18):
        path.write_bytes(content)
        assert "not a zip" in refusal(path)


@pytest.mark.parametrize(
    "wheel_file",
    [b"", WHEEL.replace(b"1.0", b"2.0", 1), WHEEL.replace(b"true", b"maybe"), b"\xff\xfe"],
)
def test_a_wheel_of_another_kind_is_refused(path: Path, wheel_file: bytes) -> None:
    refusal(write_wheel(path, {f"{INFO}/WHEEL": wheel_file}))


def test_two_dist_info_folders_are_refused(path: Path) -> None:
    assert "2 .dist-info" in refusal(write_wheel(path, {"other-2.dist-info/WHEEL": WHEEL}))


def test_a_tree_in_the_store_holds_what_its_contents_say(path: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    wheel = write_wheel(path, {"odd/a.py": b"x", "odd/empty/": b"", f"{DATA}/scripts/run": b"#!python\n"})
    old = os.umask(0o077)
    try:
        item = make_wheel_tree(store, wheel, "0" * 64, "3.13")
    finally:
        os.umask(old)

    assert item == store.item("wheel", wheel_tree_key("0" * 64, "3.13"))
    assert verify_tree(item) == []
    assert stat.S_IMODE((item / "tree/bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((item / f"tree/{SITE}/odd/a.py").stat().st_mode) == 0o644
    assert stat.S_IMODE((item / f"tree/{SITE}").stat().st_mode) == 0o755
    assert f"{SITE}/odd/a.py" in {entry.path for entry in read_contents(item).entries}


def test_verifying_a_tree_finds_every_change(path: Path, tmp_path: Path) -> None:
    wheel = write_wheel(path, {"a.py": b"x", "b.py": b"x", "c.py": b"x"})
    item = make_wheel_tree(Store(tmp_path / "store"), wheel, "0" * 64, "3.13")
    site = item / "tree" / SITE
    (site / "a.py").write_bytes(b"y")
    (site / "b.py").chmod(0o755)
    (site / "c.py").unlink()
    (site / "d.py").touch()

    found = "\n".join(verify_tree(item))

    assert [f"{name}.py" in found for name in "abcd"] == [True] * 4
    assert len(found.splitlines()) == 4


NAMES = st.text(st.sampled_from("ab./\\\0\n é-"), min_size=1, max_size=12)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True), data=st.booleans())
@example(names=["../a"], data=True)
@example(names=["a", "a/b"], data=False)
def test_nothing_is_ever_written_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: bool
) -> None:
    folder = tmp_path_factory.mktemp("names")
    members = {f"{DATA}/data/{name}" if data else name: b"x" for name in names}
    wheel = write_wheel(folder / "odd-1.0-py3-none-any.whl", members)
    try:
        item = make_wheel_tree(Store(folder / "store"), wheel, "0" * 64, "3.13")
    except UnsafeArchiveError:
        assert not list((folder / "store/items").rglob("*"))
    else:
        assert verify_tree(item) == []
    outside = {entry.name for entry in folder.iterdir()} - {"store", wheel.name}
    assert not outside
    assert {entry.name for entry in (folder / "store").iterdir()} <= {"items", "locks", "tmp", "unsettled"}
    assert not list((folder / "store/tmp").iterdir())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_changed_byte_never_changes_a_file(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int
) -> None:
    """Wherever a wheel is damaged, what is installed is what RECORD says, or nothing."""
    folder = tmp_path_factory.mktemp("bytes")
    wheel = write_wheel(folder / "odd-1.0-py3-none-any.whl", {"odd/a.py": b"x = 1\n" * 50, "b": b"y"})
    before = read(wheel)
    content = bytearray(wheel.read_bytes())
    content[position % len(content)] = byte
    wheel.write_bytes(content)
    try:
        after = read(wheel)
    except UnsafeArchiveError:
        return
    for name in (f"{SITE}/odd/a.py", f"{SITE}/b"):
        assert after.get(name, before[name]) == before[name]


@pytest.mark.parametrize(
    ("files", "library"),
    [
        (
            {"odd/__init__.py": b"", f"{DATA}/scripts/odd": b"#!python\n", f"{DATA}/purelib/more.py": b""},
            True,
        ),
        (
            {f"{INFO}/entry_points.txt": b"[console_scripts]\nodd = odd:main\n[gui_scripts]\nx = odd:x\n"},
            True,
        ),
        ({f"{INFO}/entry_points.txt": b"[jupyter_client.kernel_provisioners]\nodd = odd:main\n"}, False),
        ({f"{INFO}/entry_points.txt": b"[console_scripts]\n [odd.plugins]\nodd = odd:main\n"}, False),
        ({f"{DATA}/data/etc/jupyter/jupyter_server_config.d/odd.json": b"{}"}, False),
        ({"odd.pth": b"import odd\n"}, False),
        ({"sitecustomize.py": b""}, False),
        ({f"{DATA}/purelib/sitecustomize.py": b""}, False),
    ],
)
def test_a_library_waits_for_an_import_or_a_command(
    tmp_path: Path, files: dict[str, bytes], library: bool
) -> None:
    assert is_library(write_wheel(tmp_path / "odd-1.0-py3-none-any.whl", files)) is library


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_entry_points_that_inflate_without_measure_are_none_of_a_library(tmp_path: Path, method: int) -> None:
    bomb = write_wheel(tmp_path / "odd-1.0-py3-none-any.whl", {})
    with zipfile.ZipFile(bomb, "a", method) as archive:
        archive.writestr(f"{INFO}/entry_points.txt", bytes(50 << 20))
    content = bytearray(bomb.read_bytes())
    listed = content.rindex(b"PK\1\2")
    content[listed + 24 : listed + 28] = (100).to_bytes(4, "little")  # the size that it claims
    bomb.write_bytes(content)
    tracemalloc.start()
    try:
        assert not is_library(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_is_no_archive_is_no_library(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "odd-1.0-py3-none-any.whl", {f"{INFO}/entry_points.txt": b"[x]"})
    content = bytearray(wheel.read_bytes())
    end = content.rindex(b"PK\5\6")
    content[end + 16 : end + 20] = (1 << 30).to_bytes(4, "little")  # where its directory would begin
    wheel.write_bytes(content)

    assert not is_library(wheel)
