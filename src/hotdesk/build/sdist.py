"""A source distribution to a wheel, in a root of its own, without network.

Its build requirements are wheels that were locked; the wheel is written anew in one canonical form, so
that it is the same wherever it is built, unless the package's own build differs from run to run.
"""

from __future__ import annotations

import base64
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

from hotdesk.engines.programs import Program, open_root
from hotdesk.errors import BuildRequiredError, HashMismatchError
from hotdesk.keys import built_key
from hotdesk.portable.files import NOT_WAITING, SAFELY
from hotdesk.portable.machine import RUNS_LINUX_PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from hotdesk.lock import PythonPackage
    from hotdesk.store import Store

_STAMP = (1980, 1, 1, 0, 0, 0)
_EPOCH = "315532800"  # the first moment that a zip can state
_LINES_OF_LOG = 25
_LONGEST_ANSWER = 1 << 20
_LARGEST_WHEEL = 8 << 30
_CHUNK = 1 << 20
_WHEEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl")


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where an sdist is built: the tree of a base system; `label` says for errors what it is."""

    system: Path
    label: str
    interpreter: str = "/usr/bin/python3"


def build_requirements(workshop: Workshop, sdist: Path, name: str, folder: Path) -> list[str]:
    """What `pyproject.toml` says is needed to build; `name` is the sdist's file name, `folder` is scratch.

    Whoever made the sdist chose these words: they are to be parsed before anything else reads them.
    """
    return _answer(_step(workshop, (sdist, name), {}, folder, "declared"), name)


def more_build_requirements(
    workshop: Workshop, sdist: Path, name: str, requires: Mapping[str, Path], folder: Path
) -> list[str]:
    """What the build backend asks for beyond that; `requires` maps file names to wheels."""
    return _answer(_step(workshop, (sdist, name), requires, folder, "asked"), name)


def build_wheel(
    workshop: Workshop, sdist: Path, name: str, requires: Mapping[str, Path], folder: Path
) -> Path:
    """The canonical wheel of `sdist`, in `folder`."""
    out = _step(workshop, (sdist, name), requires, folder, "wheel")
    files = _answer(out, name)
    if len(files) != 1 or not _WHEEL_NAME.fullmatch(files[0]):
        raise BuildRequiredError(f"the build of `{name}` made no wheel", why=f"it names {files!r}")
    made = folder / files[0]
    write_canonical_wheel(out / files[0], made)
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
            check(wheel)  # before it is in the store, where the next lock would take it for a good one
            shutil.copyfile(wheel, item / wheel.name)

    def check(wheel: Path) -> None:
        if wheel.name != build.wheel or not wheel.is_file() or sha256_of(wheel) != build.sha256:
            raise HashMismatchError(
                f"building `{package.artifact.name}` did not give the wheel that was locked",
                why="its build depends on something that the lock does not hold",
                hint=f"run `hotdesk lock --upgrade {package.name}`, or choose a version that has wheels",
            )

    path = store.make("built", key, fill) / build.wheel
    check(path)
    return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _step(
    workshop: Workshop, sdist: tuple[Path, str], requires: Mapping[str, Path], folder: Path, step: str
) -> Path:
    """Run one step of the hooks; the folder of what it put out, which may be anything at all.

    Each step has folders of its own: what one leaves there, a link perhaps, no other follows.
    """
    path, name = sdist
    scratch, out = folder / step, folder / f"{step}-out"
    scratch.mkdir()
    out.mkdir()
    hooks = Path(__file__).with_name("sdist_hooks.py")
    shown = {"/run/uv": uv_inside(), "/run/hooks.py": hooks, f"/run/sdist/{name}": path}
    program = Program(
        command=(workshop.interpreter, "-I", "/run/hooks.py", step),
        environment=build_environment(),
        directory="/build",
        shown={**shown, **{f"/run/requires/{file}": wheel for file, wheel in requires.items()}},
        room={"/build": scratch},
        made={"/out": out},
    )
    with open_root(workshop.system) as inside:
        ended = inside.run(program)
    if ended.status:
        raise build_failure(name, workshop.label, ended.said.decode(errors="replace"))
    return out


def _answer(out: Path, name: str) -> list[str]:
    try:
        with open_result(out / "result.json") as file:
            said = json.loads(file.read(_LONGEST_ANSWER))
    except (OSError, ValueError, RecursionError) as error:
        said = error
    if not isinstance(said, list) or not all(isinstance(item, str) for item in said):
        raise BuildRequiredError(
            f"`{name}` has no wheel, and its build does not answer as it should",
            why=f"{said!r:.200} is not a list of texts",
            hint="choose a version that has wheels",
        )
    return said


def open_result(path: Path) -> BinaryIO:
    """A file that a sandbox wrote: neither a link to one of the host's, nor a pipe that never ends."""
    file = os.fdopen(os.open(path, os.O_RDONLY | NOT_WAITING | SAFELY), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return file


def uv_inside() -> Path:
    """The program of uv, for use where packages are built."""
    if not RUNS_LINUX_PROGRAMS:
        raise BuildRequiredError(
            "a package that has no wheel can be built on Linux only",
            why="it takes a uv for Linux, and the one of this machine is another",
            hint="choose a version that has wheels, or lock, build and push on Linux, and open it from there",
        )
    return Path(find_uv_bin())


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
    try:
        with open_result(source) as file, zipfile.ZipFile(file) as archive:
            _write_canonical(archive, target)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _no_wheel(source.name, str(error)) from error


def _write_canonical(archive: zipfile.ZipFile, target: Path) -> None:
    names = sorted({name for name in archive.namelist() if not name.endswith("/")})
    records = [name for name in names if name.endswith(".dist-info/RECORD") and name.count("/") == 1]
    if len(records) != 1:
        raise _no_wheel(target.name, "it must hold one RECORD")
    if sum(member.file_size for member in archive.infolist()) > _LARGEST_WHEEL:
        raise _no_wheel(target.name, f"unpacked it is larger than {_LARGEST_WHEEL >> 30} GiB")
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
        for name in (name for name in names if name != records[0]):
            digest, size = hashlib.sha256(), 0
            member = archive.getinfo(name)
            executable = bool(member.external_attr >> 16 & 0o111)
            copy = _member(name, 0o755 if executable else 0o644, member.file_size)
            with archive.open(member) as content, made.open(copy, "w") as into:
                while chunk := content.read(_CHUNK):  # of no more than the size that the archive states
                    digest.update(chunk)
                    size += into.write(chunk)
            encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            writer.writerow((name, f"sha256={encoded}", size))
        writer.writerow((records[0], "", ""))
        made.writestr(_member(records[0], 0o644), rows.getvalue().encode())


def _no_wheel(name: str, why: str) -> BuildRequiredError:
    return BuildRequiredError(
        f"the build of `{name}` made no wheel", why=why, hint="choose a version that has wheels"
    )


def _member(name: str, mode: int, size: int = 0) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, _STAMP)
    member.create_system = 3
    member.external_attr = (0o100000 | mode) << 16
    member.file_size = size  # the writer wants it beforehand where it passes 2 GiB
    return member
