"""What can wait until a root is open, in a process of its own, at low priority.

Its bytecode is compiled, a spare environment is made, and the disk gets all of it.

Killed at any point it loses one wheel's work; the next `up` or `run` starts it again until all is done.
Where it fails, the environment keeps what it said, and a day passes before the next attempt.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.errors import HotdeskError
from hotdesk.keys import Keys, interpreter_hashes
from hotdesk.layers.contents import TREE
from hotdesk.portable.machine import be_nice

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant
    from hotdesk.store import Store

_DONE = "bytecode-complete"
_FAILED = "bytecode-failed"
_TRIES_AGAIN_AFTER = 86400  # seconds


def compile_in_background(store: Store, locked: LockedVariant) -> None:
    """Start compiling what has no bytecode yet; returns at once. At most one process does it for a root."""
    key = Keys.of(locked).environment
    environment = store.item("environment", key)
    if (environment / _DONE).exists() or _failed_lately(environment):
        return
    with store.try_exclusive(_lock(key)) as free:
        if not free:
            return
    _start(store, locked)


def settle_in_background(store: Store) -> None:
    """Start bringing what was made to the disk; returns at once."""
    if store.is_unsettled():
        _start(store, None)


def _start(store: Store, locked: LockedVariant | None) -> None:
    import pickle
    import subprocess

    # The lock travels by pipe: the caller's lock file may change or go before the process has read it.
    process = subprocess.Popen(
        [sys.executable, "-m", "hotdesk.build.background", os.fspath(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    assert process.stdin
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(pickle.dumps(locked))
    process.returncode = 0  # it outlives us on purpose: no warning about a child that was not waited for


def compile_bytecode(store: Store, locked: LockedVariant) -> None:
    """Compile each wheel that has no bytecode, what Jupyter needs first, and link it into the environment.

    Meanwhile what was made before gets to the disk. Returns at once where another process is at it.
    """
    import threading

    keys = Keys.of(locked)
    with store.try_exclusive(_lock(keys.environment)) as ours:
        if ours:
            settling = threading.Thread(target=store.settle)
            settling.start()
            try:
                with store.in_use():
                    _compile(store, locked, keys)
            finally:
                settling.join()
            store.settle()


def _compile(store: Store, locked: LockedVariant, keys: Keys) -> None:
    from hotdesk.build.bytecode import Interpreter, compile_wheels
    from hotdesk.build.environment import add_bytecode
    from hotdesk.build.spare import keep_spare

    environment = store.item("environment", keys.environment)
    if (environment / _DONE).exists() or not environment.exists():
        return
    system = store.item("system", keys.system) / TREE
    interpreter = Interpreter(system, locked.python, interpreter_hashes(locked))
    wheels = [store.item("wheel", key) for key in keys.wheels]
    try:
        for item in compile_wheels(store, wheels, interpreter):
            store.mark_unsettled("environment", keys.environment)
            add_bytecode(environment, [item])
    except Exception as error:
        _note_failure(environment, error)
        raise
    (environment / _DONE).touch()
    (environment / _FAILED).unlink(missing_ok=True)
    keep_spare(
        store, keys.environment, locked.python, wheels, [store.item("bytecode", key) for key in keys.bytecode]
    )


def failures(store: Store) -> list[str]:
    """Why environments have no bytecode, each with its cure: their desks work, and start slowly."""
    return [
        path.read_text(encoding="utf-8")
        for path in sorted((store.root / "items" / "environment").glob(f"*/{_FAILED}"))
    ]


def _note_failure(environment: Path, error: Exception) -> None:
    import traceback

    said = str(error) if isinstance(error, HotdeskError) else "".join(traceback.format_exception(error))
    with suppress(OSError):  # perhaps the disk is full: then each `up` tries again
        (environment / _FAILED).write_text(said, encoding="utf-8")


def _failed_lately(environment: Path) -> bool:
    try:
        return time.time() - (environment / _FAILED).stat().st_mtime < _TRIES_AGAIN_AFTER
    except FileNotFoundError:
        return False


def _lock(environment: str) -> str:
    return f"compile-{environment}"


def _main() -> None:
    import pickle

    from hotdesk.store import Store

    be_nice(10)
    store = Store(Path(sys.argv[1]))
    locked = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from our own parent
    if locked:
        compile_bytecode(store, locked)
    else:
        store.settle()


if __name__ == "__main__":
    _main()
