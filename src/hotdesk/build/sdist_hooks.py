"""Runs with the desk's Python, away from the host: unpacks the sdist and calls its build backend (PEP 517).

Imports nothing of hotdesk. One argument, `declared`, `asked` or `wheel`; answers in /out/result.json.
The sdist lies in /run/sdist, wheels of what the build requires in /run/requires.
"""

import importlib
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

GIVEN = Path("/run")
BUILD = Path("/build")
OUT = Path("/out")
PYTHON = BUILD / "env" / "bin" / "python"
LEGACY = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}


def main() -> None:
    step = sys.argv[1]
    (BUILD / "home").mkdir(exist_ok=True)
    source = unpack()
    system = build_system(source)
    if step == "declared":
        answer(system["requires"])
    elif Path(sys.prefix) != BUILD / "env":
        install_requirements()
        path = f"{PYTHON.parent}:{os.environ['PATH']}"
        os.execve(PYTHON, [str(PYTHON), __file__, step], {**os.environ, "PATH": path})  # noqa: S606
    else:
        os.chdir(source)
        call(system, source, step)


def unpack() -> Path:
    (archive,) = (GIVEN / "sdist").iterdir()
    folder = BUILD / "source"
    if not folder.exists():
        folder.mkdir()
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(folder)  # noqa: S202 - as below
        else:
            with tarfile.open(archive) as opened:
                if hasattr(tarfile, "data_filter"):
                    opened.extraction_filter = tarfile.data_filter
                opened.extractall(folder)  # noqa: S202 - nothing but /build can be written to here
    (source,) = folder.iterdir()
    return source


def build_system(source: Path) -> dict[str, Any]:
    path = source / "pyproject.toml"
    declared = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = declared.get("build-system", LEGACY)
    return found if "build-backend" in found else {**LEGACY, **found}


def install_requirements() -> None:
    uv = ["/run/uv", "--quiet", "--offline", "--no-config", "--no-cache", "--no-python-downloads"]
    subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, BUILD / "env"], check=True)
    wheels = sorted(str(path) for path in (GIVEN / "requires").glob("*"))
    if wheels:
        install = [*uv, "pip", "install", "--python", str(PYTHON), "--no-index", "--no-deps", *wheels]
        subprocess.run(install, check=True)


def call(system: dict[str, Any], source: Path, step: str) -> None:
    sys.path[:0] = [str(source / folder) for folder in system.get("backend-path", [])]
    module, _, attribute = system["build-backend"].partition(":")
    backend = importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        backend = getattr(backend, part)
    if step == "asked":
        hook = getattr(backend, "get_requires_for_build_wheel", None)
        answer(list(hook(None)) if hook else [])
    else:
        answer([backend.build_wheel(str(OUT), None)])


def answer(value: list[str]) -> None:
    (OUT / "result.json").write_text(json.dumps(value), encoding="utf-8")


main()
