"""Desks of any size: as many small wheels as wanted, and a local index that serves them."""

from __future__ import annotations

import hashlib
import random
import zipfile
from typing import TYPE_CHECKING

from benchmarks.big_wheel import DATE, record_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MODULES = 20
_NOISE = 500_000  # bytes in each wheel that hardly compress


def add_to_index(folder: Path, names: Iterable[str]) -> str:
    """A `file://` address of a simple index that has a wheel for each of `names`, and what it had before."""
    for name in names:
        project = folder / name
        project.mkdir(parents=True)
        wheel = f"{_module(name)}-1.0-py3-none-any.whl"
        _write_wheel(project / wheel, name)
        (project / "index.html").write_text(f'<!DOCTYPE html><a href="{wheel}">{wheel}</a>\n')
    return folder.as_uri()


def _module(name: str) -> str:
    return name.replace("-", "_")


def _write_wheel(path: Path, name: str) -> None:
    info = f"{_module(name)}-1.0.dist-info"
    files = {f"{_module(name)}/m{number}.py": _source(name, number) for number in range(MODULES)}
    files |= {
        f"{_module(name)}/__init__.py": b"",
        f"{_module(name)}/data.bin": random.Random(name).randbytes(_NOISE),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hotdesk-benchmarks\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [record_line(file, hashlib.sha256(content), len(content)) for file, content in files.items()]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(zipfile.ZipInfo(file, DATE), content, zipfile.ZIP_DEFLATED)


def _source(name: str, number: int) -> bytes:
    lines = [f"def f{line}(x):\n    return x + {line} * {number}, {name!r}\n" for line in range(40)]
    return "\n".join(lines).encode()
