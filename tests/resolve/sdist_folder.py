"""Tiny sdists that bring their own build backend, so that they need no other package."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PROJECT = """\
[build-system]
requires = {requires}
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
version = "1.0"
"""

_BACKEND = """\
import os, pathlib, zipfile

def get_requires_for_build_wheel(config_settings=None):
    {asked}
    return []

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    {metadata_hook}
    info = pathlib.Path(folder, "{name}-1.0.dist-info")
    info.mkdir()
    info.joinpath("METADATA").write_text({metadata!r})
    info.joinpath("WHEEL").write_text({wheel!r})
    return info.name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    content = ""
    file = "{name}-1.0-{tag}.whl"
    {build}
    with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
        wheel.writestr("{name}.py", content)
        wheel.writestr("{name}-1.0.dist-info/METADATA", {metadata!r})
        wheel.writestr("{name}-1.0.dist-info/WHEEL", {wheel!r})
        wheel.writestr("{name}-1.0.dist-info/RECORD", "")
    return file
"""


def add_sdist(
    folder: Path,
    name: str,
    *,
    requires: str = "[]",
    asked: str = "pass",
    metadata_hook: str = "pass",
    build: str = "pass",
    tag: str = "py3-none-any",
) -> Path:
    """Write an sdist; `asked`, `metadata_hook` and `build` are statements of its hooks."""
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    wheel = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    files = {
        "PKG-INFO": metadata,
        "pyproject.toml": _PROJECT.format(name=name, requires=requires),
        "backend.py": _BACKEND.format(
            name=name,
            metadata=metadata,
            wheel=wheel,
            metadata_hook=metadata_hook,
            asked=asked,
            build=build,
            tag=tag,
        ),
    }
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path
