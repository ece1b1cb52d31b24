"""What an image becomes in the store, and which images become nothing."""

from __future__ import annotations

import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.oci.images import archive, image, info, tree

from hotdesk.build.image_root import open_image_root
from hotdesk.build.ownership import read_ownership
from hotdesk.engines.request import MOUNT_POINTS
from hotdesk.errors import ImageError, UnsafeArchiveError
from hotdesk.keys import unpacked_key
from hotdesk.layers.contents import verify_tree
from hotdesk.layers.debian import Ownership
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotdesk.engines.request import Root
    from hotdesk.oci.model import Image

PYTHON = "opt/desk/bin/python"


def program(name: str, content: bytes = b"#!\n") -> tuple[tarfile.TarInfo, bytes]:
    return info(name, mode=0o755), content


SYSTEM = archive(
    info("bin", tarfile.SYMTYPE, "usr/bin"),
    program("usr/bin/sh"),
    program("usr/bin/env"),
    program("usr/bin/python3.13"),
)
DESK = archive(
    info(PYTHON, tarfile.SYMTYPE, "/usr/bin/python3.13"),
    program("opt/desk/bin/jupyter"),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@contextmanager
def opened(store: Store, held: Image) -> Iterator[Root]:
    with open_image_root(store, held.id, lambda: held) as root:
        yield root


def refusal(store: Store, held: Image) -> ImageError:
    with pytest.raises(ImageError) as caught, opened(store, held):
        pass
    assert caught.value.hint
    assert not store.item("unpacked", unpacked_key(held.id)).exists()
    return caught.value


def test_both_trees_of_the_root_are_there(store: Store) -> None:
    with opened(store, image(SYSTEM, DESK)) as root:
        assert (root.system / "usr/bin/sh").read_bytes() == b"#!\n"
        assert (root.environment / "bin/jupyter").is_file()
        for path in MOUNT_POINTS:
            assert (root.system / path).exists(), path
    assert verify_tree(root.system.parent) == []


def test_an_image_is_unpacked_once(store: Store) -> None:
    held = image(SYSTEM, DESK)
    with opened(store, held):
        pass

    def never() -> Image:
        raise AssertionError("it is there")

    with open_image_root(store, held.id, never) as root:
        assert root.environment.is_dir()


def test_owners_and_modes_that_the_disk_lacks_are_recorded(store: Store) -> None:
    shadow = info("etc/shadow", mode=0o640)
    shadow.gid = 42

    with opened(store, image(SYSTEM, archive((shadow, b"")), DESK)) as root:
        assert read_ownership(root.system.parent)["etc/shadow"] == Ownership(0, 42, 0o640)


def test_names_that_are_no_utf_8_are_kept(store: Store) -> None:
    latin = b"usr/caf\xe9".decode("utf-8", "surrogateescape")

    with opened(store, image(SYSTEM, tree({latin: b""}), DESK)) as root:
        assert (root.system / latin).exists()
    assert verify_tree(root.system.parent) == []


def test_links_where_the_sandbox_mounts_files_become_files(store: Store) -> None:
    with opened(store, image(SYSTEM, tree({"etc/resolv.conf": "/run/resolved"}), DESK)) as root:
        assert (root.system / "etc/resolv.conf").read_bytes() == b""
        assert not (root.system / "etc/resolv.conf").is_symlink()


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([SYSTEM], "it is no image of a desk"),
        ([SYSTEM, archive(program(PYTHON))], "Jupyter is not on it"),
        ([DESK, archive(program("usr/bin/python3.13"))], "it has no base system"),
        ([SYSTEM, DESK, tree({"usr/bin/.wh.sh": b""})], "there is no program /bin/sh"),
        ([SYSTEM, DESK, tree({"usr/bin/sh": b""})], "there is no program /bin/sh"),
        ([SYSTEM, DESK, tree({"usr/bin/sh": "sh"})], "there is no program /bin/sh"),
        ([SYSTEM, DESK, tree({"usr/bin/sh": "../../../../../../../bin/sh"})], "there is no program /bin/sh"),
        ([SYSTEM, DESK, tree({"home": "/etc"})], "/home is no directory"),
        ([SYSTEM, DESK, tree({"etc": "/usr"})], "/etc is no directory"),
        ([SYSTEM, DESK, tree({"etc/hosts": None})], "/etc/hosts is no file"),
    ],
    ids=range(10),
)
def test_what_cannot_be_a_desk_is_refused(store: Store, layers: list[bytes], why: str) -> None:
    assert why in refusal(store, image(*layers)).why


def test_a_hostile_image_leaves_nothing(store: Store, tmp_path: Path) -> None:
    held = image(SYSTEM, DESK, tree({"l": "/tmp", "l/x": b""}))

    with pytest.raises(UnsafeArchiveError), opened(store, held):
        pass

    assert not store.item("unpacked", unpacked_key(held.id)).exists()
    assert list((store.root / "tmp").iterdir()) == []
