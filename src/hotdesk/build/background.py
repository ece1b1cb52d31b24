"""Bytecode for a root that is open already: made by a process of its own, at low priority.

Killed at any point it loses one wheel's work; the next `up` or `run` starts it again until all is done.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.keys import Keys, interpreter_hashes
from hotdesk.layers.contents import TREE

if TYPE_CHECKING:
    from hotdesk.lock import LockedVariant
    from hotdesk.store import Store

_DONE = "bytecode-complete"


def compile_in_background(store: Store, locked: LockedVariant) -> None:
    """Start compiling what has no bytecode yet; returns at once. At most one process does it for a root."""
    environment = store.item("environment", Keys.of(locked).environment)
    if (environment / _DONE).exists():
        return
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
    """Compile each wheel that has no bytecode, what Jupyter needs first, and link it into the environment."""
    from hotdesk.build.bytecode import Interpreter, compile_wheels
    from hotdesk.build.environment import add_bytecode

    keys = Keys.of(locked)
    environment = store.item("environment", keys.environment)
    with store.in_use(), store.exclusive(f"compile-{keys.environment}"):
        if (environment / _DONE).exists() or not environment.exists():
            return
        system = store.item("system", keys.system) / TREE
        interpreter = Interpreter(system, locked.python, interpreter_hashes(locked))
        wheels = [store.item("wheel", key) for key in keys.wheels]
        for item in compile_wheels(store, wheels, interpreter):
            add_bytecode(environment, [item])
        (environment / _DONE).touch()


def _main() -> None:
    import pickle

    from hotdesk.store import Store

    os.nice(10)
    locked = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from our own parent
    compile_bytecode(Store(Path(sys.argv[1])), locked)


if __name__ == "__main__":
    _main()
