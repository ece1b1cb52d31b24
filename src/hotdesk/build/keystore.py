"""Java's file of trusted certificates without the time at which each was added.

Source: the layout in OpenJDK's `sun.security.provider.JavaKeyStore`, which is that of JDK 1.2.
"""

from __future__ import annotations

import hashlib
import struct

_HEAD = struct.Struct(">III")
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
_PASSWORD = "changeit"  # noqa: S105 - the one that every Java has, and that ca-certificates-java sets
_SALT = b"Mighty Aphrodite"


def timeless(store: bytes, moment: int) -> bytes:
    """`store` with every certificate added at `moment` (in ms since 1970), by alias.

    What is not a store of certificates alone under the usual password is returned as it is.
    """
    body, digest = store[:-20], store[-20:]
    if len(store) < _HEAD.size + 20 or _digest(body) != digest:
        return store
    magic, version, count = _HEAD.unpack_from(body)
    if (magic, version) != (_MAGIC, _VERSION):
        return store
    entries: dict[bytes, bytes] = {}
    position = _HEAD.size
    for _ in range(count):
        (tag,) = struct.unpack_from(">I", body, position)
        if tag != _TRUSTED:
            return store
        alias, position = _text(body, position + 4)
        kind, position = _text(body, position + 8)
        (size,) = struct.unpack_from(">I", body, position)
        certificate = body[position : position + 4 + size]
        position += 4 + size
        entries[alias] = struct.pack(">I", tag) + alias + struct.pack(">Q", moment) + kind + certificate
    if position != len(body):
        return store
    body = _HEAD.pack(magic, version, count) + b"".join(entries[alias] for alias in sorted(entries))
    return body + _digest(body)


def _text(body: bytes, position: int) -> tuple[bytes, int]:
    """The length and bytes of a text at `position`, and where it ends."""
    (size,) = struct.unpack_from(">H", body, position)
    end = position + 2 + size
    return body[position:end], end


def _digest(body: bytes) -> bytes:
    return hashlib.sha1(_PASSWORD.encode("utf-16-be") + _SALT + body, usedforsecurity=False).digest()
