"""What Debian's scripts leave that depends on the day or the run, removed; what a desk needs, added."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING

from hotdesk.build.inside import locate, make_folder, read, write
from hotdesk.build.keystore import timeless
from hotdesk.build.unpack import MTIME
from hotdesk.engines.request import HOME, MOUNT_POINTS, PREFIX, USER, USER_ID, WORK
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_EMPTIED = ("dev", "proc", "run", "sys", "tmp", "var/tmp", "var/lib/dpkg/updates", "var/cache/fontconfig")
"""Folders that stay, without what is in them."""

_REMOVED = (
    "etc/*-",
    "etc/.pwd.lock",
    "etc/**/*.dpkg-new",
    "etc/ssh/ssh_host_*",
    "etc/ssl/certs/ssl-cert-snakeoil.pem",
    "etc/ssl/private/ssl-cert-snakeoil.key",
    "usr/lib/udev/hwdb.bin",
    "var/cache/apt/*.bin",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/aux-cache",
    "var/cache/man/**/index.db",
    "var/lib/apt/lists/*_*",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/systemd/catalog/database",
    "var/lib/systemd/random-seed",
    "var/lib/xkb/*.xkm",
)

_DAY = MTIME // 86400
_DAY_FIELD = re.compile(rb"^([^:]*:[^:]*):\d+:", re.MULTILINE)
_FILES = {
    "etc/hostname": "desk\n",
    "etc/hosts": "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n",
    "etc/resolv.conf": "",
    "etc/default/locale": "LANG=C.UTF-8\n",
}


def normalise(root: Path) -> None:
    """Make the configured tree below `root` the same whenever it was configured, and fit for a desk."""
    for path in list(_leftovers(root)):
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
    _rewrite(root, "etc/machine-id", lambda _: b"")
    _rewrite(root, "etc/ssl/certs/java/cacerts", lambda store: timeless(store, MTIME * 1000))
    _add_desk(root)
    # After the desk's own line, which has no day either.
    _rewrite(root, "etc/shadow", lambda shadow: _DAY_FIELD.sub(rb"\g<1>:%d:" % _DAY, shadow))


def _rewrite(root: Path, path: str, change: Callable[[bytes], bytes]) -> None:
    content = read(root, path)
    if content is not None:
        write(root, path, change(content))


def _leftovers(root: Path) -> Iterator[Path]:
    for folder in _EMPTIED:
        yield from _below(root, folder, "*")
    for pattern in _REMOVED:
        # What has no wildcard would be followed through links.
        parts = pattern.split("/")
        plain = next((index for index, part in enumerate(parts) if "*" in part), len(parts) - 1)
        yield from _below(root, "/".join(parts[:plain]), "/".join(parts[plain:]))
    for log in _below(root, "var/log", "**/*"):
        if log.is_file() and not log.is_symlink() and log.stat().st_size:
            yield log
    yield from _below(root, "usr", "**/__pycache__")


def _below(root: Path, folder: str, pattern: str) -> Iterator[Path]:
    """What matches in the folder, unless it is a link; wildcards follow none."""
    place = locate(root, folder)
    if place.is_dir() and not place.is_symlink():
        yield from place.glob(pattern)


def _add_desk(root: Path) -> None:
    for folder in (*_folders(), WORK.strip("/"), PREFIX.strip("/")):
        make_folder(root, folder)
    for name, line in {
        "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/bash",
        "group": f"{USER}:x:{USER_ID}:",
        "shadow": f"{USER}:!:{_DAY}:0:99999:7:::",
        "gshadow": f"{USER}:!::",
    }.items():
        _rewrite(root, f"etc/{name}", partial(_with_user, line=line))
    for name, text in _FILES.items():
        make_folder(root, name.rpartition("/")[0])
        if read(root, name) is None:
            write(root, name, text.encode())
    if os.path.lexists(locate(root, "usr/share/zoneinfo/Etc/UTC")):
        localtime = locate(root, "etc/localtime")
        localtime.unlink(missing_ok=True)
        localtime.symlink_to("/usr/share/zoneinfo/Etc/UTC")


def _folders() -> Iterator[str]:
    return (point for point in MOUNT_POINTS if not point.startswith("etc/"))


def _with_user(table: bytes, line: str) -> bytes:
    lines = table.splitlines()
    if any(known.startswith(f"{USER}:".encode()) for known in lines):
        return table
    return b"".join(known + b"\n" for known in (*lines, line.encode()))


def settle_times(root: Path) -> None:
    """Give everything below `root`, and `root` itself, the one time."""
    times = (MTIME, MTIME)
    for folder, directories, files in os.walk(root):
        for name in (*files, *directories):
            os.utime(os.path.join(folder, name), times, follow_symlinks=False)
    os.utime(root, times)
