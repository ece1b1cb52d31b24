"""A source distribution to a wheel, inside the sandbox, without network.

Its build requirements are wheels that were locked; the wheel is written anew in one canonical form, so
that it is the same wherever it is built, unless the package's own build differs from run to run.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from uv import find_uv_bin

from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.engines.host import read_host
from hotdesk.engines.seccomp import protect_host
from hotdesk.errors import BuildRequiredError, HashMismatchError
from hotdesk.keys import built_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hotdesk.lock import PythonPackage
    from hotdesk.store import Store

_STAMP = (1980, 1, 1, 0, 0, 0)
_EPOCH = "315532800"  # the first moment that a zip can state
_LINES_OF_LOG = 25


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where an sdist is built: the tree of a base system; `label` says for errors what it is."""

    system: Path
    label: str


def build_requirements(workshop: Workshop, sdist: Path, name: str, folder: Path) -> list[str]:
    """What `pyproject.toml` says is needed to build; `name` is the sdist's file name, `folder` is scratch."""
    _prepare(folder, sdist, name, {})
    return _step(workshop, folder, name, "declared")


def more_build_requirements(
    workshop: Workshop, sdist: Path, name: str, requires: Mapping[str, Path], folder: Path
) -> list[str]:
    """What the build backend asks for beyond that; `requires` maps file names to wheels."""
    _prepare(folder, sdist, name, requires)
    return _step(workshop, folder, name, "asked")


def build_wheel(
    workshop: Workshop, sdist: Path, name: str, requires: Mapping[str, Path], folder: Path
) -> Path:
    """The canonical wheel of `sdist`, in `folder`."""
    _prepare(folder, sdist, name, requires)
    (file,) = _step(workshop, folder, name, "wheel")
    if "/" in file or not file.endswith(".whl"):
        raise BuildRequiredError(f"the build of `{name}` made no wheel", why=f"it names {file!r}")
    made = folder / "built" / file
    made.parent.mkdir()
    write_canonical_wheel(folder / "out" / file, made)
    return made


def built_wheel(
    store: Store, package: PythonPackage, workshop: Callable[[], Workshop], base_key: str
) -> Path:
    """The wheel of a package locked as an sdist, built where it is not in the store yet.

    All artifacts must be in the store. `base_key` names the base system by its content. Raises
    `HashMismatchError` where the build does not give what was locked.
    """
    build = package.build
    if build is None:
        raise ValueError(f"{package.name} is locked as a wheel")
    key = built_key(package.artifact.sha256, [item.sha256 for item in build.requires], base_key)

    def fill(item: Path) -> None:
        with store.scratch() as folder:
            wheel = build_wheel(
                workshop(),
                store.download(package.artifact.sha256),
                package.artifact.name,
                {item.name: store.download(item.sha256) for item in build.requires},
                folder,
            )
            shutil.copyfile(wheel, item / wheel.name)

    path = store.make("built", key, fill) / build.wheel
    if not path.is_file() or sha256_of(path) != build.sha256:
        raise HashMismatchError(
            f"building `{package.artifact.name}` did not give the wheel that was locked",
            why="its build depends on something that the lock does not hold",
            hint=f"run `hotdesk lock --upgrade {package.name}`, or choose a version that has wheels",
        )
    return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prepare(folder: Path, sdist: Path, name: str, requires: Mapping[str, Path]) -> None:
    for part in ("sdist", "requires", "source", "out", "home"):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir()
    shutil.copyfile(sdist, folder / "sdist" / name)
    for file, path in requires.items():
        shutil.copyfile(path, folder / "requires" / file)
    hooks = resources.files("hotdesk.build").joinpath("sdist_hooks.py").read_bytes()
    (folder / "hooks.py").write_bytes(hooks)


def _step(workshop: Workshop, folder: Path, name: str, step: str) -> list[str]:
    options = [*system_options(workshop.system), "--unshare-all", "--uid", "1000", "--gid", "1000"]
    options += ["--ro-bind", find_uv_bin(), "/run/uv", "--bind", os.fspath(folder), "/build"]
    done = run_bwrap(
        [*options, "--chdir", "/build"],
        ["/usr/bin/python3", "-I", "/build/hooks.py", step],
        seccomp=protect_host(),
        environment=build_environment(),
    )
    result = folder / "out" / "result.json"
    if done.returncode or not result.is_file():
        raise build_failure(name, workshop.label, done.stdout.decode(errors="replace"))
    said = json.loads(result.read_text(encoding="utf-8"))
    return [str(item) for item in said]


def system_options(system: Path) -> list[str]:
    """Bubblewrap's options that show `system` read-only, with room for mount points anywhere above it."""
    options = ["--tmpfs", "/"]
    for path in sorted(system.iterdir()):
        inside = f"/{path.name}"
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), inside]
        elif path.name in ("usr", "etc", "var", "bin", "sbin", "lib", "lib64") and path.is_dir():
            options += ["--ro-bind", os.fspath(path), inside]
    return [*options, *read_host().kernel_options(), "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108


def build_environment() -> dict[str, str]:
    """The same on every machine."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/build/home",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": _EPOCH,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def build_failure(name: str, label: str, log: str) -> BuildRequiredError:
    """What a user needs to know about a failed build: the end of its log, and the cure it hints at."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip() and "warning:" not in line]
    return BuildRequiredError(
        f"`{name}` has no wheel for {label}, and building it there failed",
        why="\n".join(lines[-_LINES_OF_LOG:]),
        hint=_cure(log),
    )


def _cure(log: str) -> str:
    other = "or choose a version that has wheels"
    header = re.search(r"fatal error: (\S+\.h(?:pp)?): No such file", log)
    if header and header[1] == "Python.h":
        return f'add "python3-dev" to `[packages] debian`, {other}'
    if header:
        return f"add the Debian package that holds `{header[1]}` (`…-dev`) to `[packages] debian`, {other}"
    missing = re.search(r"(?:No such file or directory: '|exec: |command ')([\w.+-]*?([\w+]+))['\"]", log)
    missing = missing or re.search(r"\b(([\w.+-]+)): (?:command )?not found", log)
    program = missing[2] if missing else ""
    if program in ("gcc", "g++", "cc", "c++", "make"):
        return f'add "build-essential" and "python3-dev" to `[packages] debian`, {other}'
    if program:
        package = {"rustc": "cargo"}.get(program, program)
        return f'add "{package}" to `[packages] debian`, {other}'
    return f"add what the build misses to `[packages] debian`, {other}"


def write_canonical_wheel(source: Path, target: Path) -> None:
    """Write the wheel anew: sorted, stored, with fixed times and modes; its RECORD comes last."""
    with zipfile.ZipFile(source) as archive:
        names = sorted({name for name in archive.namelist() if not name.endswith("/")})
        records = [name for name in names if name.endswith(".dist-info/RECORD") and name.count("/") == 1]
        if len(records) != 1:
            raise BuildRequiredError(
                f"the build of `{source.name}` made no wheel", why="it must hold one RECORD"
            )
        rows = io.StringIO()
        writer = csv.writer(rows, lineterminator="\n")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
            for name in (name for name in names if name != records[0]):
                content = archive.read(name)
                executable = bool(archive.getinfo(name).external_attr >> 16 & 0o111)
                _write_member(made, name, content, executable=executable)
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                writer.writerow((name, f"sha256={digest}", len(content)))
            writer.writerow((records[0], "", ""))
            _write_member(made, records[0], rows.getvalue().encode())


def _write_member(archive: zipfile.ZipFile, name: str, content: bytes, *, executable: bool = False) -> None:
    member = zipfile.ZipInfo(name, _STAMP)
    member.create_system = 3
    member.external_attr = (0o100755 if executable else 0o100644) << 16
    archive.writestr(member, content)
