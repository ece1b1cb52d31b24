"""Small images that are whole: one program with many names, and what a desk's image has besides."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.host import lacking

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


def layer_of(entries: list[Entry], history: str = "a test") -> Layer:
    members = in_order(roots(entries))
    return layer_of_members(members, history)


def layer_of_members(members: list[Member], history: str = "a test") -> Layer:
    measured = measure(members)
    blob = Descriptor(LAYER, f"sha256:{measured.digest}", measured.size)
    return Layer(
        blob=Blob(blob, lambda: blob_chunks(members)),
        diff_id=f"sha256:{measured.diff_id}",
        tar_size=measured.tar_size,
        tar_chunks=lambda: tar_chunks(members),
        history=history,
    )


def file_of(path: str, content: bytes, *, executable: bool = False) -> File:
    return File(path, len(content), lambda: iter((content,)), executable=executable)


def note(text: str) -> Layer:
    """A layer with one small file, which its text names."""
    return layer_of([file_of(f"note/{text}", text.encode())], text)


def small_image(*further: Layer, settings: Mapping[str, Any] = SETTINGS) -> Image:
    """BusyBox with `further` layers on top."""
    return image_of(host_platform(), settings, [_busybox(), *further])


def _busybox() -> Layer:
    program = shutil.which("busybox")
    if not program:
        lacking("this host has no busybox")
    content = Path(program).read_bytes()
    if b"/lib64/ld-linux" in content[:4096] or b"/lib/ld-linux" in content[:4096]:
        lacking("this host's busybox needs libraries: install busybox-static")
    entries: list[Entry] = [file_of("bin/busybox", content, executable=True)]
    entries += [Link(f"bin/{name}", "busybox") for name in _NAMES.split()]
    entries += [Directory(folder) for folder in _FOLDERS]
    entries += [file_of("etc/passwd", PASSWD.encode()), file_of("etc/group", GROUP.encode())]
    return layer_of(entries, "busybox")
