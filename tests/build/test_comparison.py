"""Where an image differs from its lock, said by file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.build.test_image import SITE, Shelf
from tests.oci.images import image, layer, tree

from hotdesk.build.comparison import compare, missing_wheels
from hotdesk.build.image import build_image

if TYPE_CHECKING:
    from pathlib import Path

    from hotdesk.lock import LockedVariant
    from hotdesk.oci.model import Image

A = {"a.py": b"x = 1\n", "w0-1.data/scripts/tool": b"#!python\nprint()\n"}
B = {"b/__init__.py": b"", "b/c.py": b"y = 2\n"}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def locked(shelf: Shelf) -> LockedVariant:
    return shelf.desk([A, B])


def built(shelf: Shelf, locked: LockedVariant, *more: bytes) -> Image:
    """The desk's image, with layers on top."""
    plain = build_image(shelf.store, locked)
    return image(*plain.layers, *map(layer, more)) if more else plain


def differences(shelf: Shelf, locked: LockedVariant, *more: bytes) -> list[str]:
    problems, found = compare(built(shelf, locked, *more), shelf.store, locked)
    assert problems == []
    return list(found.differences)


def test_an_image_as_locked_differs_in_nothing(shelf: Shelf, locked: LockedVariant) -> None:
    problems, found = compare(build_image(shelf.store, locked), shelf.store, locked)

    assert (problems, found.differences) == ([], ())
    assert found.compared > 10
    assert found.unlisted == 3  # the bytecode of a, b and b.c


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ({f"{SITE}/a.py": b"x = 2\n"}, [f"/opt/desk/{SITE}/a.py is not as in w0 1"]),
        ({"bin/tool": b"#!/opt/desk/bin/python\nprint()\n"}, ["/opt/desk/bin/tool is not as in w0 1"]),
        ({"bin/python": "/tmp/python"}, ["/opt/desk/bin/python is not as in the environment itself"]),
        ({f"{SITE}/.wh.a.py": b""}, [f"/opt/desk/{SITE}/a.py of w0 1 is missing"]),
        (
            {f"{SITE}/.wh.b": b""},
            [
                f"/opt/desk/{SITE}/b/__init__.py of w1 1 is missing",
                f"/opt/desk/{SITE}/b/c.py of w1 1 is missing",
            ],
        ),
        ({f"{SITE}/evil.pth": b""}, [f"/opt/desk/{SITE}/evil.pth belongs to no package of the lock"]),
    ],
    ids=["content", "no longer executable", "link", "removed", "folder removed", "added"],
)
def test_what_differs_is_named(
    shelf: Shelf, locked: LockedVariant, layer: dict[str, bytes | str | None], expected: list[str]
) -> None:
    assert (
        differences(shelf, locked, tree({f"opt/desk/{path}": what for path, what in layer.items()}))
        == expected
    )


def test_the_whole_environment_may_be_gone(shelf: Shelf, locked: LockedVariant) -> None:
    found = differences(shelf, locked, tree({"opt/.wh.desk": b""}))

    assert all(line.endswith("is missing") for line in found)
    assert len(found) > 10


def test_what_is_outside_of_the_environment_is_not_compared(shelf: Shelf, locked: LockedVariant) -> None:
    assert differences(shelf, locked, tree({"usr/bin/more": b""})) == []


def test_wheels_that_are_not_there_are_told(shelf: Shelf, locked: LockedVariant) -> None:
    assert missing_wheels(shelf.store, locked) == []
    shelf.store.download(locked.pypi[0].artifact.sha256).unlink()

    assert missing_wheels(shelf.store, locked) == [locked.pypi[0]]


def test_a_lying_image_is_told_besides(shelf: Shelf, locked: LockedVariant) -> None:
    plain = build_image(shelf.store, locked)
    first, *others = plain.layers
    lying = replace(plain, layers=(replace(first, blob=others[0].blob), *others))

    problems, _ = compare(lying, shelf.store, locked)

    assert problems
