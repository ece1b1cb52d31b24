"""A small image that runs: one program with many names, and what a desk's image has besides."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.host import lacking
from tests.support.images import layer

from hotdesk.layers.entries import Directory, File, Link
from hotdesk.oci.layer import Member, blob_chunks, in_order, measure, roots, tar_chunks
from hotdesk.oci.model import LAYER, Blob, Descriptor, Image, Layer, image_of
from hotdesk.project import host_platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotdesk.layers.entries import Entry

_NAMES = (
    "cat chown df echo env false grep head hostname id kill ls mkdir mount nc nproc ps readlink seq sh sleep "
)
_NAMES += "stat stty test touch true ulimit wc wget whoami"
_FOLDERS = ("dev", "home/desk/work", "opt/desk/bin", "proc", "run", "sys", "tmp", "var/tmp")
PASSWD = "root:x:0:0:root:/root:/bin/sh\ndesk:x:1000:1000::/home/desk:/bin/sh\n"
GROUP = "root:x:0:\ndesk:x:1000:\n"
SETTINGS = {"User": "1000:1000", "Env": ["PATH=/bin"], "WorkingDir": "/home/desk/work"}


def note(text: str) -> Layer:
    """A layer with one small file, which its text names."""
    return layer(f"note/{text}", text.encode())


def busybox_image(*further: Layer, settings: Mapping[str, Any] = SETTINGS) -> Image:
    """BusyBox with `further` layers on top."""
    return image_of(host_platform(), settings, [_busybox(), *further])


def a_shadow_file() -> Layer:
    """A layer with a file of another group, as every Debian system has some."""
    return _layer([Member(_file("etc/shadow", b""), 0o640, gid=42)], "shadow")


def _busybox() -> Layer:
    program = shutil.which("busybox")
    if not program:
        lacking("this host has no busybox")
    content = Path(program).read_bytes()
    if b"/lib64/ld-linux" in content[:4096] or b"/lib/ld-linux" in content[:4096]:
        lacking("this host's busybox needs libraries: install busybox-static")
    entries: list[Entry] = [_file("bin/busybox", content)]
    entries += [Link(f"bin/{name}", "busybox") for name in _NAMES.split()]
    entries += [Directory(folder) for folder in _FOLDERS]
    entries += [_file("etc/passwd", PASSWD.encode()), _file("etc/group", GROUP.encode())]
    return _layer(roots(entries), "busybox")


def _layer(entries: list[Member], history: str) -> Layer:
    members = in_order(entries)
    found = measure(members)
    blob = Blob(Descriptor(LAYER, f"sha256:{found.digest}", found.size), partial(blob_chunks, members))
    return Layer(blob, f"sha256:{found.diff_id}", found.tar_size, partial(tar_chunks, members), history)


def _file(path: str, content: bytes) -> File:
    return File(path, len(content), lambda: iter((content,)), executable=path.startswith("bin/"))
