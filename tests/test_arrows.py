"""Imports point one way, and a few modules may not know each other at all."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "hotdesk"

# Lowest first: a part may import its own level and the ones above it in this list.
LEVELS: list[set[str]] = [
    {"errors", "portable", "progress", "startup"},
    {"settings"},
    {"lock", "lock_base", "lock_images", "lock_words", "spec"},
    {"store"},
    {"keys"},
    {"indexes", "fetch"},
    {"engines", "layers", "oci"},
    {"build", "resolve", "project", "doctor"},
    {"desk"},
    {"cache"},
    {"opening", "image_desks"},
    {"packing", "checking"},
    {"cli", "__main__"},
]
FORBIDDEN = {
    ("engines", "layers"): "an engine runs a root and does not know what it was made of",
    ("layers", "engines"): "a layer is made of an artifact, whatever runs it later",
    ("build", "resolve"): "a root depends on the lock alone",
    ("desk", "fetch"): "only resolving and building speak to package indexes",
    ("desk", "indexes"): "only resolving and building speak to package indexes",
    ("layers", "indexes"): "only resolving and fetching speak to package indexes",
    ("layers", "fetch"): "only resolving and fetching speak to package indexes",
}


@cache
def parts() -> list[str]:
    return sorted({path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")})


@cache
def imports() -> set[tuple[str, str, str]]:
    """(importing part, imported part, file) for every import of one part of hotdesk by another."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                pieces = name.split(".")
                if pieces[0] == "hotdesk" and len(pieces) > 1 and pieces[1] in parts() and pieces[1] != part:
                    found.add((part, pieces[1], str(path.relative_to(SOURCE))))
    return found


def level(part: str) -> int:
    return next(number for number, names in enumerate(LEVELS) if part in names)


def test_every_part_has_a_level() -> None:
    known = set().union(*LEVELS) | {"__init__", "data", "templates"}

    assert set(parts()) <= known


def test_imports_point_one_way() -> None:
    upward = {(a, b, file) for a, b, file in imports() if level(a) < level(b)}

    assert upward == set()


@pytest.mark.parametrize(("importer", "imported"), FORBIDDEN, ids=str)
def test_forbidden_acquaintances(importer: str, imported: str) -> None:
    met = {file for a, b, file in imports() if (a, b) == (importer, imported)}

    assert met == set(), FORBIDDEN[importer, imported]


def test_only_the_command_line_prints_or_exits() -> None:
    guilty = set()
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] in ("cli", "data", "templates"):  # the last two run on a desk
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case (
                    ast.Call(func=ast.Name(id="print"))
                    | ast.Call(func=ast.Attribute(value=ast.Name(id="sys"), attr="exit"))
                ):
                    guilty.add(f"{path.relative_to(SOURCE)}:{node.lineno}")

    assert guilty == set()
