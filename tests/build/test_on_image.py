"""What an image must be so that a desk can be built on it, and in which order packages get there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotdesk.build.on_image import check_tree, unpacking_order
from hotdesk.errors import ImageError

FOLDERS = ("etc", "home", "opt", "usr/bin", "usr/lib", "usr/sbin", "var/lib/dpkg", "var/tmp", "dev", "tmp")
FILES = ("usr/bin/sh", "usr/bin/dpkg", "etc/hosts")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for folder in FOLDERS:
        (tree / folder).mkdir(parents=True)
    for file in FILES:
        (tree / file).touch()
    for top in ("bin", "lib", "sbin"):
        (tree / top).symlink_to(f"usr/{top}")
    return tree


def put(tree: Path, path: str, target: str | None) -> None:
    """A link there, or a file, in the place of an empty folder or a file."""
    place = tree / path
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if target is None:
        place.touch()
    else:
        place.symlink_to(target)


def test_a_debian_system_will_do(system: Path) -> None:
    check_tree(system)
    (system / "opt/desk").mkdir()
    (system / "home/desk").mkdir()
    put(system, "etc/resolv.conf", "../run/resolv.conf")
    check_tree(system)


@pytest.mark.parametrize("path", ["usr/bin/sh", "usr/bin/dpkg"])
def test_what_has_no_shell_or_no_dpkg_is_refused(system: Path, path: str) -> None:
    (system / path).unlink()

    with pytest.raises(ImageError, match=f"it has no /{path}"):
        check_tree(system)


@pytest.mark.parametrize("target", ["/etc", "usr/lib", "../usr/sbin"])
def test_bin_beside_usr_is_refused(system: Path, target: str) -> None:
    put(system, "sbin", target)

    with pytest.raises(ImageError, match="its /sbin is no link to /usr/sbin"):
        check_tree(system)


@pytest.mark.parametrize(
    ("path", "target", "why"),
    [
        ("home", "/root", "its /home is no directory"),
        ("opt", "/etc", "its /opt is no directory"),
        ("opt/desk", "/etc", "its /opt/desk is no directory"),
        ("home/desk", "../etc", "its /home/desk is no directory"),
        ("dev", "/proc", "its /dev is no directory"),
        ("tmp", None, "its /tmp is no directory"),
        ("var/tmp", "../..", "its /var/tmp is no directory"),
        ("var/lib/dpkg", "/var/lib/dpkg", "its /var/lib/dpkg is no directory"),
    ],
)
def test_what_would_lead_a_mount_elsewhere_is_refused(
    system: Path, path: str, target: str | None, why: str
) -> None:
    put(system, path, target)

    with pytest.raises(ImageError, match=why):
        check_tree(system)


def test_a_folder_in_the_place_of_a_file_is_refused(system: Path) -> None:
    os.unlink(system / "etc/hosts")
    (system / "etc/hosts").mkdir()

    with pytest.raises(ImageError, match="its /etc/hosts is a directory"):
        check_tree(system)


@pytest.mark.parametrize("path", ["opt/desk", "home/desk"])
def test_what_is_where_the_desk_belongs_is_refused(system: Path, path: str) -> None:
    (system / path / "bin").mkdir(parents=True)

    with pytest.raises(ImageError, match="is not empty"):
        check_tree(system)


def test_a_package_comes_after_those_that_it_must_find_unpacked() -> None:
    packages = {
        "a": {"pre-depends": "c (>= 1), virtual | libc6"},
        "b": {"provides": "virtual (= 2)", "pre-depends": "a"},
        "c": {"pre-depends": "not-among-them"},
        "d": {"depends": "z"},
    }

    order = unpacking_order(packages)

    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("c") < order.index("a")
    assert order == unpacking_order(dict(reversed(packages.items())))
