"""The files that each Python of a desk starts with: the package `hotdesk.startup`, where it finds it.

They are in every environment beside what the lock holds. A line of a `.pth` file is what Python runs at its
start in a virtual environment: a `sitecustomize` would be Debian's own, which comes before ours.
"""

from __future__ import annotations

from pathlib import Path

from hotdesk.layers.entries import File

PACKAGE = "_hotdesk"
LINE = "zzz_hotdesk.pth"  # read after all others, so that what they add comes before what is added by hand
_START = f"import {PACKAGE}; {PACKAGE}.start()\n"
_SOURCE = Path(__file__).parent.parent / "startup"


def startup_entries(python: str) -> list[File]:
    """They are the same in each environment of a Python such as `3.13`."""
    site = f"lib/python{python}/site-packages"
    modules = {f"{PACKAGE}/{path.name}": path.read_bytes() for path in sorted(_SOURCE.glob("*.py"))}
    return [_file(f"{site}/{name}", content) for name, content in {**modules, LINE: _START.encode()}.items()]


def _file(path: str, content: bytes) -> File:
    return File(path, len(content), lambda: iter((content,)))
