"""Debian's scripts where the disk is full: a small file system of its own, and real programs on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.host import lacking

from hotdesk.build.configure import configure
from hotdesk.build.dpkg import write_database
from hotdesk.build.unpack import Unpacked
from hotdesk.errors import ConfigureError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

CONTROL = b"Package: filler\nVersion: 1\nArchitecture: all\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Eight megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def a_tree(folder: Path, programs: tuple[str, ...] = ("sh", "dd", "ln", "rm")) -> Path:
    """The least that a script needs: a shell, a few programs, and what they are linked with."""
    tree = folder / "tree"
    for path in ("dev", "proc", "run", "tmp", "usr/sbin", "var/lib/dpkg"):
        (tree / path).mkdir(parents=True)
    for name in programs:
        found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if found is None:
            lacking(f"this host has no {name}")
        linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
        libraries = re.findall(r"(/\S+) \(0x", linked)
        for path in libraries:
            copy = tree / path.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        for place in ("bin", "usr/bin"):
            (tree / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(found, tree / place / name)
    return tree


def run(disk: Path, preinst: str) -> None:
    package = Unpacked("filler", {"control": CONTROL, "preinst": f"#!/bin/sh\n{preinst}\n".encode()}, ())
    configure(a_tree(disk), [package], disk / "tools")


def test_a_full_disk_is_not_blamed_on_the_package(namespaces: None, disk: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full") as caught:
        run(disk, "dd if=/dev/zero of=/filler bs=1M")

    assert "No space left on device" in caught.value.why
    assert "HOTDESK_STORE" in caught.value.hint


def test_a_script_that_fails_is(namespaces: None, disk: Path) -> None:
    with pytest.raises(ConfigureError, match="`filler`") as caught:
        run(disk, "exit 3")

    assert "it ended with 3" in caught.value.why


def test_each_package_is_told_when_its_turn_comes(namespaces: None, tmp_path: Path) -> None:
    needed = ("dpkg-deb", "dpkg-split", "tar", "diff", "ldconfig", "start-stop-daemon")
    tree = a_tree(tmp_path, ("sh", "ln", "rm", "sleep", "dpkg", *needed))
    fields = b"Maintainer: a\nDescription: a\n"
    slow = {"postinst": b"#!/bin/sh\nsleep 0.5\n"}
    packages = [
        Unpacked(name, {"control": CONTROL.replace(b"filler", name.encode()) + fields, **slow}, ())
        for name in ("one", "two", "three")
    ]
    write_database(tree, packages)
    told: list[int] = []

    configure(tree, packages, tmp_path / "tools", told.append)

    assert told == [1, 1, 1]


def test_links_in_the_tree_do_not_lead_the_host_out_of_it(namespaces: None, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("chown\n/\nnot a number\n")
    tree = a_tree(tmp_path)
    (tree / "usr/sbin/policy-rc.d").symlink_to(outside / "made")
    (tree / "usr/sbin/update-ca-certificates").symlink_to(outside / "secret")
    script = f"""#!/bin/sh
        set -e
        test ! -e /run/hotdesk/update-ca-certificates
        rm /run/hotdesk/chown.log
        ln -s {outside}/secret /run/hotdesk/chown.log
        ln -s {outside} /kept
        echo done > /reached
        """
    package = Unpacked("filler", {"control": CONTROL, "preinst": script.encode()}, ())

    with suppress(ConfigureError):  # there is no dpkg in this tree
        configure(tree, [package], tmp_path / "tools")

    assert (tree / "reached").exists()
    assert [path.name for path in outside.iterdir()] == ["secret"]
