"""Bytecode of the base system's own Python modules, the same bytes everywhere.

Debian's scripts write bytecode that holds times and differs from run to run; ours is compiled beside them,
since the interpreter works as soon as it is unpacked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.build.inside import locate
from hotdesk.engines.programs import Inside, Program, open_root
from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMPILER = Path(__file__).with_name("compile_script.py")

# The compiler takes the place of its modules for that of a wheel's; these stay where they are.
_DRIVER = """
import sys
compiler = {"__name__": "compiler"}
exec(sys.stdin.read(), compiler)
for module_folder in sys.argv[1:]:
    compiler["PREFIX"] = module_folder
    if compiler["main"](module_folder, "/tmp/output" + module_folder, 1):
        sys.exit("compiling " + module_folder)
"""


def compile_standard_library(tree: Path, output: Path) -> None:
    """Write the `__pycache__` folders of the Python modules in `tree` to the same places below `output`."""
    output.mkdir()
    with open_root(tree) as inside:  # not the one of the scripts, which see another `py_compile`
        for interpreter in interpreters(tree):
            folders = [f"/usr/lib/{interpreter}", "/usr/lib/python3/dist-packages"]
            there = [folder for folder in folders if (tree / folder.strip("/")).is_dir()]
            _compile(inside, interpreter, there, output)


def _compile(inside: Inside, interpreter: str, folders: Sequence[str], output: Path) -> None:
    ended = inside.run(
        Program(
            command=(
                *(f"/usr/bin/{interpreter}", "-S", "-s", "-P", "-B", "-W", "ignore"),
                *("-c", _DRIVER, *folders),
            ),
            environment={"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
            stdin=_COMPILER.read_bytes(),
            directory="/tmp",  # noqa: S108
            made={"/tmp/output": output},  # noqa: S108
        )
    )
    if ended.status:
        raise EngineError(
            "the desk's Python could not compile its own modules",
            why=ended.said.decode(errors="replace").strip()[-2000:] or f"it ended with {ended.status}",
            hint="run `hotdesk doctor`",
        )


def interpreters(tree: Path) -> list[str]:
    """The names of the Python interpreters in `tree`, as `python3.13`."""
    return sorted(
        path.name for path in tree.glob("usr/bin/python3.*") if re.fullmatch(r"python3\.\d+", path.name)
    )


def install_bytecode(output: Path, tree: Path) -> None:
    """Move what `compile_standard_library` wrote to its place in `tree`."""
    for cache in sorted(output.rglob("__pycache__")):
        files = [cache, *cache.iterdir()]
        # The desk's own Python wrote them, and nobody vouches for it.
        if odd := [file for file in files if file.is_symlink() or not (file is cache or file.is_file())]:
            raise EngineError(
                "the desk's Python could not compile its own modules",
                why=f"it made {odd[0].relative_to(output)}, which is no plain file",
                hint="report it to those who published its packages",
            )
        for file in files:
            file.chmod(0o755 if file is cache else 0o644)
        cache.rename(locate(tree, cache.relative_to(output).as_posix()))
