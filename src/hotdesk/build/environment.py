"""One Python environment out of wheels' trees, by hard links: desks share their disk and page cache."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from hotdesk.errors import StoreError, UnsafeArchiveError
from hotdesk.layers.contents import TREE, Contents, differences, read_contents, scan_tree
from hotdesk.layers.entries import File, Link, Written, write_tree
from hotdesk.layers.startup import startup_entries
from hotdesk.portable.files import FOLDER, SAFELY, set_mode
from hotdesk.progress import SILENT
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hotdesk.layers.entries import Entry
    from hotdesk.progress import Progress
    from hotdesk.store import Store

COMPILED = "compiled"
_OWNERS = "owners.json"
_MADE_OF = "made-of.json"
_FORMAT = 5  # goes up with what is in an environment beside wheels; its key's number does, too
_CONFIGURATION = "pyvenv.cfg"
_BEGUN = ".begun"
_UNFINISHED = re.compile(r"/__pycache__/\.[^/]*\.pyc\.[0-9]+$")  # what a killed `add_bytecode` may leave
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP}


class EnvironmentBuild:
    """An environment on its way in `item`, which is empty or a spare: `link` each wheel, then `finish`.

    `linked` are the wheels whose files are there, and `spare` those that were from the start.
    """

    def __init__(self, item: Path, python: str, spare: Iterable[Path] = ()) -> None:
        self.tree = item / TREE
        self.spare = frozenset(spare)
        self.linked = set(self.spare)
        self._item = item
        self._python = python
        self._directories: set[str] = set()
        self._contents: dict[Path, tuple[Written, ...]] = {}
        if not self.spare:
            self._begin()

    def _begin(self) -> None:
        for folder in (self.tree, self._item / COMPILED):
            remove_tree(folder)
            _make_directory(os.fspath(folder))
        self._directories = {"bin"}
        write_tree(own_entries(self._python), self.tree)

    def link(self, wheel: Path) -> None:
        """Link the files of a wheel item, from any thread; where one is there already, it stays for now."""
        folders: dict[str, list[str]] = {}
        for written in self._entries(wheel):
            if written.content == "directory":
                folders.setdefault(written.path, [])
            else:
                folder, _, name = written.path.rpartition("/")
                folders.setdefault(folder, []).append(name)
        try:
            for folder, names in folders.items():
                self._make_directory(folder)
                _link_files(wheel / TREE / folder, self.tree / folder, names)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise  # else a file is where it has a folder: `settle` refuses that
        self.linked.add(wheel)

    def _make_directory(self, path: str) -> None:
        if path in self._directories or not path:
            return
        self._make_directory(path.rpartition("/")[0])
        with suppress(FileExistsError):  # by another thread, or as a file: linking into it will fail
            _make_directory(f"{self.tree}/{path}")
        self._directories.add(path)

    def _entries(self, wheel: Path) -> tuple[Written, ...]:
        if wheel not in self._contents:
            self._contents[wheel] = read_contents(wheel).entries
        return self._contents[wheel]

    def settle(self, wheels: Sequence[Path]) -> None:
        """Give each path that several of `wheels` hold to the last of them."""
        self._put(self._shared(wheels, SILENT))

    def _shared(self, wheels: Sequence[Path], progress: Progress) -> dict[str, Path]:
        return shared_paths({wheel: self._entries(wheel) for wheel in wheels}, self._python, progress)

    def _put(self, shared: Mapping[str, Path]) -> None:
        for path, winner in shared.items():
            folder, _, name = path.rpartition("/")
            with _opened(winner / TREE / folder) as source, _opened(self.tree / folder) as target:
                _put_in_place(name, source, target)

    def finish(
        self, wheels: Sequence[Path], bytecode: Iterable[Path] = (), progress: Progress = SILENT
    ) -> None:
        """Once all of `wheels`, in layer order, are linked: settle what they share, add `bytecode`."""
        shared = self._shared(wheels, progress)
        owners = {path: winner.name for path, winner in shared.items()}
        # In a spare all is in its place, our bytecode where a wheel has its own included. But the bytecode of
        # a module that is another wheel's now would stay.
        anew = self.spare and owners != _owners(self._item)
        if anew:
            self._begin()
            for wheel in wheels:
                self.link(wheel)
        if anew or not self.spare:
            self._put(shared)
        (self._item / _OWNERS).write_text(json.dumps(owners), encoding="utf-8")
        recipe = {
            "format": _FORMAT,
            "python": self._python,
            "wheels": [wheel.name for wheel in wheels],
        }
        (self._item / _MADE_OF).write_text(json.dumps(recipe), encoding="utf-8")
        add_bytecode(self._item, bytecode)


def add_bytecode(environment: Path, bytecode: Iterable[Path]) -> None:
    """Link bytecode items into an environment, also while desks run in it.

    Each file appears whole; doing it twice, or in two processes at once, does no harm. A module that
    two wheels hold gets the bytecode of the wheel whose file is there.
    """
    owners: dict[str, str] | None = None
    for item in bytecode:
        mark = environment / COMPILED / item.name
        if mark.exists():
            continue
        if owners is None:
            owners = _owners(environment)
        begun = mark.with_name(f"{item.name}{_BEGUN}")
        begun.touch()
        _link_bytecode(environment / TREE, item, owners)
        mark.touch()
        begun.unlink(missing_ok=True)


def _owners(environment: Path) -> dict[str, str]:
    """The key of the wheel whose file is there, for each path that several wheels hold."""
    owners: dict[str, str] = json.loads((environment / _OWNERS).read_bytes())
    return owners


def made_of(environment: Path) -> set[tuple[str, str]]:
    """The wheels and the bytecode that were linked into an environment, wholly or in part.

    `StoreError` where another hotdesk made it in its own way.
    """
    recipe = _recipe(environment)
    if recipe is None:
        raise StoreError(f"the environment {environment} is not as this hotdesk makes it")
    wheels = recipe["wheels"]
    marks = (environment / COMPILED).iterdir()
    return {
        *(("wheel", wheel) for wheel in wheels),
        *(("bytecode", mark.name.removesuffix(_BEGUN)) for mark in marks),
    }


def _recipe(environment: Path) -> dict[str, Any] | None:
    """What was written of how an environment was made; None where another hotdesk made it in its own way."""
    recipe = json.loads((environment / _MADE_OF).read_bytes())
    if not isinstance(recipe, dict) or not {"python", "wheels"} <= recipe.keys():
        raise ValueError(f"{_MADE_OF} says nothing of how it was made")
    return recipe if recipe.get("format") == _FORMAT else None


def verify_environment(store: Store, environment: Path) -> list[str]:
    """Each difference between an environment and what it was made of, which must be in the store.

    What another hotdesk made in its own way is nothing that this one ever uses.
    """
    recipe = _recipe(environment)
    if recipe is None:
        return []
    python: str = recipe["python"]
    expected = {
        written.path: written
        for wheel in recipe["wheels"]
        for written in read_contents(store.item("wheel", wheel)).entries
    }
    # The compiler may be at work: only what was linked before we looked must be there, all else may.
    linked = {mark.name for mark in (environment / COMPILED).iterdir() if not mark.name.endswith(_BEGUN)}
    found = {written.path: written for written in scan_tree(environment / TREE).entries}
    for written, certain in _expected_bytecode(store, environment, linked):
        # Until all of an item is linked, any part of it may be there.
        if certain or found.get(written.path) == written:
            expected[written.path] = written
    for written in _own_written(python):
        expected[written.path] = written
    expected.pop("bin", None)
    found.pop("bin", None)
    for path in [path for path in found if _UNFINISHED.search(path)]:
        del found[path]
    return differences(Contents.of(expected.values()), Contents.of(found.values()))


def _own_written(python: str) -> Iterator[Written]:
    """What `own_entries` are on disk, with their folders."""
    for entry in own_entries(python):
        folder = entry.path
        while folder := folder.rpartition("/")[0]:
            yield Written(folder, 0o755, 0, "directory")
        if isinstance(entry, File):
            digest = hashlib.sha256(b"".join(entry.chunks())).hexdigest()
            yield Written(entry.path, 0o644, entry.size, f"sha256:{digest}")
        elif isinstance(entry, Link):
            yield Written(entry.path, 0o777, 0, f"link:{entry.target}")


def _expected_bytecode(store: Store, environment: Path, linked: set[str]) -> Iterator[tuple[Written, bool]]:
    """Every entry that bytecode adds or replaces, and whether its item is among those that are `linked`."""
    owners = _owners(environment)
    for mark in (environment / COMPILED).iterdir():
        certain = mark.name in linked
        for written in winning(store.item("bytecode", mark.name.removesuffix(_BEGUN)), owners):
            folder = written.path.rpartition("/")[0]
            yield Written(folder, 0o755, 0, "directory"), certain
            yield written, certain


def shared_paths(
    wheels: Mapping[Path, tuple[Written, ...]], python: str, progress: Progress = SILENT
) -> dict[str, Path]:
    """For each path that several wheels hold, the last of them. Where they differ there, it is noted."""
    reserved = {entry.path for entry in own_entries(python)}
    directories: set[str] = set()
    owners: dict[str, tuple[Path, str]] = {}
    shared: dict[str, Path] = {}
    conflicts: dict[str, tuple[Path, Path]] = {}
    for wheel, entries in wheels.items():
        for written in entries:
            if written.content == "directory":
                directories.add(written.path)
                continue
            if previous := owners.get(written.path):
                shared[written.path] = wheel
                if previous[1] != written.content:
                    conflicts[written.path] = (previous[0], wheel)
            owners[written.path] = wheel, written.content
    if both := sorted({"bin", *directories} & (owners.keys() | reserved)):
        raise UnsafeArchiveError(
            f"two wheels cannot be installed together: `{both[0]}` is a file in one, a folder in the other",
            hint="leave one of them out of the spec",
        )
    _note_overlaps(conflicts, progress)
    return shared


def _note_overlaps(conflicts: dict[str, tuple[Path, Path]], progress: Progress) -> None:
    by_pair: dict[tuple[str, str], list[str]] = {}
    for path, (loser, winner) in conflicts.items():
        by_pair.setdefault((_project(loser), _project(winner)), []).append(path)
    for (replaced, replacing), paths in sorted(by_pair.items()):
        progress.note(
            f"{replacing} replaces {len(paths)} file{'s' * (len(paths) > 1)} of {replaced}: {min(paths)}"
        )


def _project(wheel: Path) -> str:
    """A wheel item's project, from its .dist-info folder."""
    for written in read_contents(wheel).entries:
        folder = written.path.rpartition("/")[2]
        if written.content == "directory" and folder.endswith(".dist-info"):
            return folder.split("-")[0]
    return wheel.name


def _link_files(source: Path, target: Path, names: Iterable[str]) -> None:
    with _opened(source) as here, _opened(target) as there:
        for name in names:
            with suppress(FileExistsError):
                _link_or_copy(name, here, name, there)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | FOLDER | SAFELY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _link_or_copy(name: str, source: int, new_name: str, target: int) -> None:
    try:
        os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(name, source, new_name, target)


def _copy(name: str, source: int, new_name: str, target: int) -> None:
    """Where the file system or the kernel's settings refuse hard links, or a file has the most it may."""
    with (
        open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=source)) as original,
        open(new_name, "xb", opener=lambda path, flags: os.open(path, flags, 0o600, dir_fd=target)) as copy,
    ):
        shutil.copyfileobj(original, copy, 1 << 20)
        set_mode(copy.fileno(), os.fstat(original.fileno()).st_mode & 0o777)


def _make_directory(path: str) -> None:
    os.mkdir(path)
    os.chmod(path, 0o755)  # whatever the umask


def _own_links(python: str) -> dict[str, str]:
    return dict.fromkeys(("bin/python", "bin/python3", f"bin/python{python}"), f"/usr/bin/python{python}")


def _pyvenv_cfg(python: str) -> str:
    return f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"


def own_entries(python: str) -> list[Entry]:
    """What makes a tree a virtual environment of the desk's Python, and what that runs at its start."""
    content = _pyvenv_cfg(python).encode()
    links: list[Entry] = [Link(path, target) for path, target in _own_links(python).items()]
    return [*links, File(_CONFIGURATION, len(content), lambda: iter((content,))), *startup_entries(python)]


def _link_bytecode(tree: Path, item: Path, owners: dict[str, str]) -> None:
    folders: dict[str, list[str]] = {}
    for written in winning(item, owners):
        folder, _, name = written.path.rpartition("/")
        folders.setdefault(folder, []).append(name)
    for folder, names in folders.items():
        with suppress(FileExistsError):
            _make_directory(f"{tree}/{folder}")
        with _opened(item / TREE / folder) as source, _opened(tree / folder) as target:
            for name in names:
                _put_in_place(name, source, target)


def winning(item: Path, owners: dict[str, str]) -> Iterator[Written]:
    """The files of a bytecode item whose modules are the ones that the environment has."""
    return won(read_contents(item).entries, bytecode_source(item), owners)


def won(bytecode: Iterable[Written], wheel: str, owners: Mapping[str, str]) -> Iterator[Written]:
    """The same of what is in the bytecode item of the wheel item `wheel`."""
    for written in bytecode:
        if written.content != "directory" and owners.get(module_of(written.path), wheel) == wheel:
            yield written


def _put_in_place(name: str, source: int, target: int) -> None:
    """Under a name of our own first: the file replaces what a wheel shipped, and is never half there."""
    partial = f".{name}.{os.getpid()}"
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EEXIST and error.errno not in _NO_LINK:
            raise
        if error.errno == errno.EEXIST and _same_file(name, source, target):
            return
        _remove(partial, target)
        _link_or_copy(name, source, partial, target)
        os.replace(partial, name, src_dir_fd=target, dst_dir_fd=target)


def _same_file(name: str, one: int, other: int) -> bool:
    return os.path.samestat(os.stat(name, dir_fd=one), os.stat(name, dir_fd=other))


def _remove(name: str, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def bytecode_source(item: Path) -> str:
    """The key of the wheel item that a bytecode item was compiled from."""
    return (item / "wheel").read_text(encoding="ascii")


def module_of(pyc: str) -> str:
    """`a/__pycache__/b.cpython-313.pyc` is compiled from `a/b.py`."""
    folder, _, name = pyc.rpartition("__pycache__/")
    return f"{folder}{name.split('.cpython-')[0]}.py"
