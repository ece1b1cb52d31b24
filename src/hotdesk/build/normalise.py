"""What Debian's scripts leave that depends on the day or the run, removed; what a desk needs, added."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from hotdesk.build.keystore import timeless
from hotdesk.build.unpack import MTIME
from hotdesk.engines.request import HOME, MOUNT_POINTS, PREFIX, USER, USER_ID
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    machine_id = root / "etc/machine-id"
    if machine_id.is_file():
        machine_id.write_bytes(b"")
    certificates = root / "etc/ssl/certs/java/cacerts"
    if certificates.is_file():
        certificates.write_bytes(timeless(certificates.read_bytes(), MTIME * 1000))
    _add_desk(root)
    # After the desk's own line, which has no day either.
    shadow = root / "etc/shadow"
    if shadow.is_file():
        lines = _DAY_FIELD.sub(rb"\g<1>:%d:" % _DAY, shadow.read_bytes())
        shadow.write_bytes(lines)


def _leftovers(root: Path) -> Iterator[Path]:
    for folder in _EMPTIED:
        if (root / folder).is_dir() and not (root / folder).is_symlink():
            yield from (root / folder).iterdir()
    for pattern in _REMOVED:
        yield from root.glob(pattern)
    for log in (root / "var/log").rglob("*"):
        if log.is_file() and not log.is_symlink() and log.stat().st_size:
            yield log
    yield from root.glob("usr/**/__pycache__")


def _add_desk(root: Path) -> None:
    for folder in (*_folders(), HOME.strip("/"), PREFIX.strip("/")):
        _make_folder(root / folder)
    for name, line in {
        "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::{HOME}:/bin/bash",
        "group": f"{USER}:x:{USER_ID}:",
        "shadow": f"{USER}:!:{_DAY}:0:99999:7:::",
        "gshadow": f"{USER}:!::",
    }.items():
        _append_user(root / "etc" / name, line)
    for name, text in _FILES.items():
        path = root / name
        _make_folder(path.parent)
        if path.is_symlink() or not path.exists():
            path.unlink(missing_ok=True)
            path.write_bytes(text.encode())
            path.chmod(0o644)
    zone = root / "usr/share/zoneinfo/Etc/UTC"
    if zone.exists():
        localtime = root / "etc/localtime"
        localtime.unlink(missing_ok=True)
        localtime.symlink_to("/usr/share/zoneinfo/Etc/UTC")


def _folders() -> Iterator[str]:
    return (point for point in MOUNT_POINTS if not point.startswith("etc/"))


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir()
        path.chmod(0o755)  # whatever the umask


def _append_user(path: Path, line: str) -> None:
    if not path.is_file():
        return
    lines = path.read_bytes().splitlines()
    if not any(known.startswith(f"{USER}:".encode()) for known in lines):
        path.write_bytes(b"".join(known + b"\n" for known in (*lines, line.encode())))


def settle_times(root: Path) -> None:
    """Give everything below `root`, and `root` itself, the one time."""
    times = (MTIME, MTIME)
    for folder, directories, files in os.walk(root):
        for name in (*files, *directories):
            os.utime(os.path.join(folder, name), times, follow_symlinks=False)
    os.utime(root, times)
