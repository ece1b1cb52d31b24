"""Small wheels, made in a test, right or wrong in one way."""

from __future__ import annotations

import base64
import hashlib
import struct
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

DIST = "odd-1.0"
INFO = f"{DIST}.dist-info"
DATA = f"{DIST}.data"
METADATA = b"Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n"
WHEEL = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def record_line(path: str, content: bytes, algorithm: str = "sha256") -> str:
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode()
    quoted = '"' + path.replace('"', '""') + '"' if "," in path or '"' in path else path
    return f"{quoted},{algorithm}={digest},{len(content)}\n"


def write_wheel(
    path: Path,
    files: Mapping[str, bytes],
    *,
    record: Callable[[str], str] = str,
    modes: Mapping[str, int] | None = None,
    compression: int = zipfile.ZIP_DEFLATED,
    algorithm: str = "sha256",
    zip_only: Mapping[str, bytes] | None = None,
) -> Path:
    """A wheel of `files` and its metadata; `record` may change RECORD, `zip_only` is not in RECORD."""
    info = path.name.rsplit("-py3", 1)[0] if path.name.endswith(".whl") else DIST
    held = {f"{info}.dist-info/METADATA": METADATA, f"{info}.dist-info/WHEEL": WHEEL, **files}
    lines = [record_line(name, content, algorithm) for name, content in held.items() if name[-1] != "/"]
    held[f"{info}.dist-info/RECORD"] = record("".join(lines) + f"{info}.dist-info/RECORD,,\n").encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**held, **(zip_only or {})}.items():
            member = zipfile.ZipInfo(name)
            member.create_system = 3
            member.compress_type = compression
            member.external_attr = (modes or {}).get(name, 0o40755 if name[-1] == "/" else 0o100644) << 16
            archive.writestr(member, content)
    return path


def patch_directory(wheel: Path, name: str, format_: str, offset: int, value: int | bytes) -> Path:
    """Overwrite a field in a member's entry of the zip's central directory."""
    return _patch(wheel, name, b"PK\1\2", 46, format_, offset, value)


def patch_local(wheel: Path, name: str, format_: str, offset: int, value: int | bytes) -> Path:
    """Overwrite a field in a member's local header."""
    return _patch(wheel, name, b"PK\3\4", 30, format_, offset, value)


def _patch(
    wheel: Path, name: str, signature: bytes, length: int, format_: str, offset: int, value: int | bytes
) -> Path:
    content = bytearray(wheel.read_bytes())
    at = -1
    while (at := content.find(signature, at + 1)) >= 0:
        if content[at + length :].startswith(name.encode()):
            struct.pack_into(format_, content, at + offset, value)
            wheel.write_bytes(content)
            return wheel
    raise LookupError(name)
