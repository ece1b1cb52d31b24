"""Small .debs, made by the byte, so that they can be wrong in every way."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    "": bytes,
}


def member(
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    target: str = "",
    uid: int = 0,
    gid: int = 0,
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname, info.uid, info.gid = kind, mode, target, uid, gid
    info.size = len(content)
    return info, content


def directory(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.SYMTYPE, mode=0o777, target=target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, kind=tarfile.LNKTYPE, target=target)


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def ar(parts: Iterable[tuple[str, bytes]]) -> bytes:
    result = b"!<arch>\n"
    for name, content in parts:
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        result += header.encode() + content + b"\n" * (len(content) % 2)
    return result


def control(name: str, **fields: str) -> bytes:
    stated = {"Package": name, "Version": "1", "Architecture": "amd64", "Maintainer": "x", "Description": "x"}
    stated.update({key.replace("_", "-").title(): value for key, value in fields.items()})
    return "".join(f"{key}: {value}\n" for key, value in stated.items()).encode()


def write_deb(
    path: Path,
    members: Iterable[tuple[tarfile.TarInfo, bytes]],
    *,
    name: str = "small",
    compression: str = ".xz",
    files: dict[str, bytes] | None = None,
    **fields: str,
) -> Path:
    """A .deb at `path` of the package `name`; `files` are further control files, `fields` its fields."""
    compress = COMPRESSORS[compression]
    parts = [member("./control", control(name, **fields))]
    parts += [member(f"./{file}", content, mode=0o755) for file, content in (files or {}).items()]
    path.write_bytes(
        ar(
            [
                ("debian-binary", b"2.0\n"),
                (f"control.tar{compression}", compress(tar(parts))),
                (f"data.tar{compression}", compress(tar(members))),
            ]
        )
    )
    return path
