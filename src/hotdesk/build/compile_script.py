"""Compiles a tree of modules to canonical bytecode; runs inside the sandbox, in the desk's interpreter.

It gets three arguments: the tree, the folder to write to, and how many processes may work. It must
need nothing but the standard library of Python 3.11, and is never imported by hotdesk.

What CPython writes for one source differs with what the process did before, in two ways:

- An object is marked "may be referred to again" when anybody else holds it; for names of modules and
  attributes that is an accident. So the code is read back twice from its own bytes: each name is then
  held by two copies for certain, and everything else by nobody but its own code.
- Whether two functions share a constant set depends on which of its strings the process knew. So a
  pristine interpreter forks for every few modules: what a process knew follows from the tree alone.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys

assert sys.platform == "linux"

PREFIX = "/opt/desk"
CHUNK = 32  # modules for each fork; part of the result, so another number needs another recipe name
_UNCHECKED_HASH = (0b01).to_bytes(4, "little")


def canonical_pyc(source: bytes, path: str) -> bytes | None:
    """The .pyc of `source` as it will be at `path`; None where it does not compile."""
    try:
        code = compile(source, path, "exec", dont_inherit=True, optimize=0)
        plain = marshal.dumps(code)
        copy, holder = marshal.loads(plain), marshal.loads(plain)  # noqa: S302 - our own bytes
        canonical = marshal.dumps(copy)
        del holder
    except (SyntaxError, ValueError, RecursionError, OverflowError, MemoryError):
        return None
    return importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source) + canonical


def find_modules(tree: str) -> list[str]:
    """The paths below the tree of every module, sorted."""
    found = []
    for folder, _, names in os.walk(tree):
        paths = (os.path.join(folder, name) for name in names if name.endswith(".py"))
        found += [os.path.relpath(path, tree) for path in paths if os.path.isfile(path)]
    return sorted(found, key=os.fsencode)


def compile_one(tree: str, output: str, path: str) -> None:
    with open(os.path.join(tree, path), "rb") as file:
        pyc = canonical_pyc(file.read(), os.path.join(PREFIX, path))
    if pyc is None:
        return
    folder, name = os.path.split(path)
    cache = os.path.join(output, folder, "__pycache__")
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, f"{name[:-3]}.{sys.implementation.cache_tag}.pyc"), "wb") as file:
        file.write(pyc)


def compile_in_child(tree: str, output: str, paths: list[str]) -> None:
    """Fork; the child compiles `paths` and ends, with status 1 after an error that is not the source's."""
    if os.fork():
        return
    status = 1
    try:
        for path in paths:
            compile_one(tree, output, path)
        status = 0
    except BaseException as error:  # noqa: BLE001 - a child must not go on as if it were the parent
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(status)


def main(tree: str, output: str, processes: int) -> int:
    os.umask(0o022)
    modules = find_modules(tree)
    chunks = [modules[start : start + CHUNK] for start in range(0, len(modules), CHUNK)]
    failed = running = 0
    while chunks or running:
        if chunks and running < processes:
            compile_in_child(tree, output, chunks.pop())
            running += 1
        else:
            failed |= os.wait()[1]
            running -= 1
    return int(failed != 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
