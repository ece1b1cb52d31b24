"""A wheel larger than any memory limit we promise, and a local index that serves it."""

from __future__ import annotations

import base64
import hashlib
import random
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "hotdesk-benchmark-big"
_MODULE = "hotdesk_benchmark_big"
_VERSION = "1.0"
_PIECE = 1 << 20
DATE = (2020, 1, 1, 0, 0, 0)


def make_index(folder: Path, megabytes: int) -> str:
    """A `file://` address of a simple index with one wheel, whose one large member hardly compresses.

    One member, because a tool that reads members whole would need that much memory.
    """
    project = folder / PROJECT
    project.mkdir(parents=True, exist_ok=True)
    name = f"{_MODULE}-{_VERSION}-py3-none-any.whl"
    if not (project / name).exists():
        partial = project / "partial"
        _write_wheel(partial, megabytes)
        partial.rename(project / name)
    (project / "index.html").write_text(f'<!DOCTYPE html><a href="{name}">{name}</a>\n')
    return folder.as_uri()


def _write_wheel(path: Path, megabytes: int) -> None:
    info = f"{_MODULE}-{_VERSION}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {_VERSION}\n"
    wheel = "Wheel-Version: 1.0\nGenerator: hotdesk-benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:

        def add(name: str, content: str) -> None:
            archive.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)
            record.append(record_line(name, hashlib.sha256(content.encode()), len(content)))

        add(f"{_MODULE}/__init__.py", "")
        record.append(_add_noise(archive, f"{_MODULE}/data.bin", megabytes))
        add(f"{info}/METADATA", metadata)
        add(f"{info}/WHEEL", wheel)
        add(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))


def _add_noise(archive: zipfile.ZipFile, name: str, megabytes: int) -> str:
    generator, digest = random.Random(0), hashlib.sha256()
    member = zipfile.ZipInfo(name, DATE)
    member.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(member, "w", force_zip64=True) as stream:
        for _ in range(megabytes):
            piece = generator.randbytes(_PIECE)
            digest.update(piece)
            stream.write(piece)
    return record_line(name, digest, megabytes * _PIECE)


def record_line(name: str, digest: hashlib._Hash, size: int) -> str:
    encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
    return f"{name},sha256={encoded},{size}\n"
