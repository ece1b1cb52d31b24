from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.layers.debs import control

from hotdesk.build.dpkg import write_database
from hotdesk.build.inside import make_folder, read, resolved, write
from hotdesk.build.normalise import normalise
from hotdesk.build.ownership import settle_ownership
from hotdesk.build.standard_library import install_bytecode
from hotdesk.build.unpack import SystemTree, Unpacked
from hotdesk.errors import ConfigureError, EngineError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("etc", "usr/sbin", "var/lib/dpkg"):
        (root / name).mkdir(parents=True)
    return root


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the host with one file, and what a desk's build must never touch."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("root:x:0:0:::\n")
    (folder / "precious").chmod(0o600)
    return folder


def untouched(outside: Path) -> bool:
    precious = outside / "precious"
    return os.listdir(outside) == ["precious"] and (precious.read_text(), precious.stat().st_mode) == (
        "root:x:0:0:::\n",
        0o100600,
    )


@pytest.mark.parametrize(
    ("target", "asked", "answer"),
    [
        ("usr/sbin", "door/x", "usr/sbin/x"),
        ("/usr/sbin", "door/x", "usr/sbin/x"),
        ("../../../usr", "door/sbin", "usr/sbin"),
        ("usr/sbin", "door/../x", "usr/x"),
        ("usr/sbin", "door", "usr/sbin"),
        ("/", "door", ""),
        ("/nowhere", "door/x", "nowhere/x"),
    ],
)
def test_a_link_leads_where_it_leads_in_the_sandbox(root: Path, target: str, asked: str, answer: str) -> None:
    (root / "door").symlink_to(target)

    assert resolved(root, asked) == answer


def test_a_circle_of_links_is_an_error(root: Path) -> None:
    (root / "door").symlink_to("door")

    with pytest.raises(ConfigureError, match="circle"):
        resolved(root, "door/x")


def test_a_file_takes_the_place_of_a_link_and_keeps_a_files_mode(root: Path, outside: Path) -> None:
    (root / "etc/link").symlink_to(outside / "precious")
    (root / "etc/file").write_text("old")
    (root / "etc/file").chmod(0o640)

    for name in ("link", "file"):
        write(root, f"etc/{name}", b"new")

    assert untouched(outside)
    assert [oct((root / f"etc/{name}").lstat().st_mode) for name in ("link", "file")] == [
        "0o100644",
        "0o100640",
    ]


def test_neither_a_link_nor_a_pipe_is_read(root: Path, outside: Path) -> None:
    (root / "etc/link").symlink_to(outside / "precious")
    os.mkfifo(root / "etc/pipe")

    assert [read(root, f"etc/{name}") for name in ("link", "pipe", "absent")] == [None, None, None]


def test_a_folder_is_made_where_it_is_in_the_sandbox(root: Path, outside: Path) -> None:
    (root / "home").symlink_to(outside)

    make_folder(root, "home/desk")

    assert untouched(outside)


@pytest.mark.parametrize(
    "name", ["machine-id", "passwd", "group", "shadow", "gshadow", "hosts", "resolv.conf", "localtime"]
)
def test_a_link_in_etc_does_not_lead_a_build_out_of_its_tree(root: Path, outside: Path, name: str) -> None:
    (root / "etc" / name).symlink_to(outside / "precious")

    normalise(root)

    assert untouched(outside)


@pytest.mark.parametrize(
    "folder",
    [
        "etc",
        "sys",
        "run",
        "var/log",
        "var/tmp",
        "var/cache/debconf",
        "var/lib",
        "var/lib/dpkg/updates",
        "home",
    ],
)
def test_a_folder_that_is_a_link_is_not_cleaned(root: Path, outside: Path, folder: str) -> None:
    (outside / "precious").rename(outside / "config.dat-old")
    place = root / folder
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        place.rename(root / "moved")
    place.symlink_to(outside)

    normalise(root)

    assert os.listdir(outside) == ["config.dat-old"]


@pytest.mark.parametrize("name", ["", "/status", "/info", "/info/tool.list", "/triggers/File"])
def test_the_database_is_written_inside_the_tree(root: Path, outside: Path, name: str) -> None:
    place = root / f"var/lib/dpkg{name}"
    if name:
        place.parent.mkdir(exist_ok=True)
    else:
        place.rmdir()
    place.symlink_to(outside / "precious" if name.count(".") or name == "/status" else outside)

    write_database(root, [Unpacked("tool", {"control": control("tool")}, ("/.",))])

    assert untouched(outside)


def test_a_conffile_outside_the_tree_is_not_read(root: Path, outside: Path) -> None:
    (root / "etc/tool").symlink_to(outside)
    files = {"control": control("tool"), "conffiles": b"/etc/tool/precious\n"}

    write_database(root, [Unpacked("tool", files, ("/.",))])

    assert b" /etc/tool/precious nonexistent\n" in (root / "var/lib/dpkg/status").read_bytes()


def test_owners_are_not_looked_up_in_the_hosts_files(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "tree").mkdir()
    tree = SystemTree(tmp_path / "tree")
    (tmp_path / "tree/var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "tree/var/lib/dpkg/statoverride").symlink_to(outside / "precious")

    assert settle_ownership(tree, [])["var"].uid == 0


@pytest.mark.parametrize("name", ["__pycache__", "__pycache__/module.pyc"])
def test_bytecode_that_is_a_link_is_refused(root: Path, outside: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / "output"
    (output / name).parent.mkdir(parents=True)
    (output / name).symlink_to(outside if name == "__pycache__" else outside / "precious")

    with pytest.raises(EngineError, match="plain file"):
        install_bytecode(output, root)
    assert untouched(outside)


def test_bytecode_moves_to_its_place_inside_the_tree(root: Path, outside: Path, tmp_path: Path) -> None:
    (tmp_path / "output/door/__pycache__").mkdir(parents=True)
    (tmp_path / "output/door/__pycache__/module.pyc").touch()
    (root / "door").symlink_to("/usr/sbin")

    install_bytecode(tmp_path / "output", root)

    assert (root / "usr/sbin/__pycache__/module.pyc").exists()
