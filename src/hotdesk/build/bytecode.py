"""Bytecode of a wheel's modules, compiled by the desk's own interpreter, the same bytes everywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.engines.programs import Program, open_root
from hotdesk.errors import EngineError
from hotdesk.keys import bytecode_key
from hotdesk.layers.contents import TREE, read_contents, scan_tree, write_contents
from hotdesk.portable.machine import processors
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hotdesk.engines.programs import Inside
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_MANY_BYTES = 4_000_000  # of source: less takes a second or two, and is not worth several processes


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What compiles: a configured system tree, the version (`3.13`), and the hashes of its packages."""

    system: Path
    python: str
    packages: tuple[str, ...]


def compile_wheel(
    inside: Inside, store: Store, wheel: Path, interpreter: Interpreter, processes: int = 1
) -> Path:
    """The store's item with the bytecode of `wheel`, an item of `make_wheel_tree`.

    `inside` is the interpreter's own system. A module that does not compile has none. `EngineError` where the
    compiler cannot run.
    """

    def fill(item: Path) -> None:
        tree = item / TREE
        tree.mkdir()
        tree.chmod(0o755)  # whatever the umask
        _compile(inside, wheel, tree, interpreter, processes)
        write_contents(scan_tree(tree), item)
        (item / "wheel").write_text(wheel.name, encoding="ascii")

    key = bytecode_key(wheel.name, interpreter.python, interpreter.packages)
    return store.make("bytecode", key, fill)


def compile_wheels(
    store: Store,
    wheels: Sequence[Path],
    interpreter: Interpreter,
    *,
    progress: Progress = SILENT,
    jobs: int = 0,
) -> Iterator[Path]:
    """Each wheel's bytecode item as it is made, started in the order of `wheels`, `jobs` at once.

    Interrupted at any point, what was made stays.
    """
    jobs = jobs or processors()
    with (
        progress.task("compiling", len(wheels)) as task,
        ThreadPoolExecutor(jobs) as pool,
        open_root(interpreter.system) as inside,  # its end is that of what the pool would wait for
    ):
        futures = [
            pool.submit(compile_wheel, inside, store, wheel, interpreter, jobs if _is_large(wheel) else 1)
            for wheel in wheels
        ]
        try:
            for future in as_completed(futures):
                task.advance(1)
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _is_large(wheel: Path) -> bool:
    modules = (entry.size for entry in read_contents(wheel).entries if entry.path.endswith(".py"))
    return sum(modules) > _MANY_BYTES


def _compile(inside: Inside, wheel: Path, output: Path, interpreter: Interpreter, processes: int) -> None:
    # Several are compiled at once, perhaps in one and the same container; no path is in what comes of it.
    source, compiled = f"/tmp/{wheel.name}/tree", f"/tmp/{wheel.name}/output"  # noqa: S108
    ended = inside.run(
        Program(
            # Not -I: it would ignore PYTHONHASHSEED.
            command=(
                *(f"/usr/bin/python{interpreter.python}", "-S", "-s", "-P", "-B", "-W", "ignore", "-"),
                *(source, compiled, str(processes)),
            ),
            environment={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
            stdin=Path(__file__).with_name("compile_script.py").read_bytes(),
            shown={source: wheel / TREE},
            made={compiled: output},
            needed=".py",
        )
    )
    if ended.status:
        raise EngineError(
            "the desk's Python could not compile its packages",
            why=ended.said.decode(errors="replace").strip()[-2000:] or f"exit status {ended.status}",
            hint="run `hotdesk doctor`",
        )
