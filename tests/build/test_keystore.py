from __future__ import annotations

import hashlib
import struct

from hotdesk.build.keystore import timeless


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def keystore(entries: list[tuple[str, int, bytes]], *, tag: int = 2, password: str = "changeit") -> bytes:
    body = struct.pack(">III", 0xFEEDFEED, 2, len(entries))
    for alias, moment, content in entries:
        body += struct.pack(">I", tag) + text(alias) + struct.pack(">Q", moment)
        body += text("X.509") + struct.pack(">I", len(content)) + content
    return body + hashlib.sha1(password.encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()


def test_neither_the_time_nor_the_order_shows() -> None:
    one = keystore([("a", 1, b"A" * 900), ("b", 2, b"B")])
    two = keystore([("b", 7, b"B"), ("a", 8, b"A" * 900)])

    assert timeless(one, 5) == timeless(two, 5) == keystore([("a", 5, b"A" * 900), ("b", 5, b"B")])


def test_a_store_with_keys_or_another_password_or_none_at_all_is_left_alone() -> None:
    for store in (
        keystore([("a", 1, b"A")], tag=1),
        keystore([("a", 1, b"A")], password="other"),
        b"",
        b"x" * 99,
    ):
        assert timeless(store, 5) == store
