"""Files of a tree that packages and their scripts filled, reached from outside of it.

A link in such a tree means what it means in the sandbox, where the tree is `/`; the kernel of the host
would follow it out of the tree, to whatever its maker likes to have read or overwritten.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from hotdesk.errors import ConfigureError
from hotdesk.portable.files import SAFELY, set_mode

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LINKS = 40
"""As many as Linux follows."""


def resolved(root: Path, path: str, *, follow: bool = True) -> str:
    """Where `path` leads relative to `root`, links followed as the kernel does with `root` as its root.

    `follow` says whether the last part may be a link too. What comes back has no link in it else.
    """
    pending = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        here = os.path.join(root, *done, part)
        if (pending or follow) and os.path.islink(here):
            links += 1
            if links > _MOST_LINKS:
                raise ConfigureError("the base system cannot be made", why=f"/{path} is a circle of links")
            target = os.readlink(here)
            if target.startswith("/"):
                done.clear()
            pending += target.split("/")[::-1]
        else:
            done.append(part)
    return "/".join(done)


def locate(root: Path, path: str) -> Path:
    """The place of `path` below `root`, which may be a link; none is on the way there."""
    return root / resolved(root, path, follow=False)


def read(root: Path, path: str) -> bytes | None:
    """What the file has in it; None where there is none, or a link or anything else."""
    place = locate(root, path)
    return place.read_bytes() if _is_file(place) else None


def write(root: Path, path: str, content: bytes, mode: int = 0o644) -> None:
    """Make the file, in the place of a link or a file that is there; a file's mode stays."""
    place = locate(root, path)
    if _is_file(place):
        mode = place.stat().st_mode & 0o777
    place.unlink(missing_ok=True)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        set_mode(descriptor, mode)


def make_folder(root: Path, path: str) -> Path:
    """The folder at `path` and those above it, 0755 whatever the umask; one that is there stays as it is."""
    place = root / resolved(root, path)
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir()
        folder.chmod(0o755)
    return place


def _is_file(place: Path) -> bool:
    try:
        return stat.S_ISREG(place.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
