"""The spec's `[checks]`, run on a ready desk: its imports, its commands, its notebooks."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from hotdesk.engines.on_linux import was_asked_to_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.opening import Ready
    from hotdesk.spec import Checks

_SCRIPTS = Path(__file__).parent / "data"
_OUTPUT = 16384
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Check:
    """`name` is a module, a command line or the path of a notebook."""

    kind: Literal["import", "command", "notebook"]
    name: str

    @property
    def command(self) -> tuple[str, ...]:
        match self.kind:
            case "import":
                return ("python", "-c", _script("check_import"), self.name)
            case "command":
                return ("bash", "-c", self.name)
            case "notebook":  # -P, or a module beside the notebook could hide one that runs it
                return ("python", "-P", "-c", _script("check_notebook"), self.name)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a check.

    `seconds` are those of the import alone, else of all of it. `output` is the end of what it printed. `page`
    is the executed notebook.
    """

    check: Check
    exit_code: int
    seconds: float
    version: str = ""
    output: str = ""
    page: Path | None = None

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


def checks_of(checks: Checks) -> list[Check]:
    """In the order in which they are run: what takes longest comes last."""
    return [
        *(Check("import", name) for name in checks.imports),
        *(Check("command", text) for text in checks.commands),
        *(Check("notebook", path) for path in checks.notebooks),
    ]


def run_check(ready: Ready, check: Check, pages: Path) -> Result:
    """Run it, with nothing on the terminal; a notebook is kept in the folder `pages`.

    `KeyboardInterrupt` where the user ended it.
    """
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as answer:
        begin = time.perf_counter()
        with _redirected(log if check.kind == "command" else answer, log):
            code = ready.run(check.command)
        seconds = time.perf_counter() - begin
        if code and was_asked_to_end():
            raise KeyboardInterrupt
        result = Result(check, code, seconds, output=_end(log))
        if check.kind == "import" and result.ok:
            return _with_version(result, _end(answer))
        if check.kind == "notebook":
            return replace(
                result, page=_keep_page(answer, pages / f"{check.name.removesuffix('.ipynb')}.html")
            )
        return result


def _script(name: str) -> str:
    return (_SCRIPTS / f"{name}.py").read_text(encoding="utf-8")


def _with_version(result: Result, answer: str) -> Result:
    """What the module itself printed comes before the last line, which is the script's."""
    with suppress(ValueError, LookupError, TypeError):
        found = json.loads(answer.rstrip().rpartition("\n")[2])
        return replace(result, seconds=float(found["seconds"]), version=str(found["version"]))
    return result  # it went on to print as it ended


def _keep_page(answer: IO[bytes], path: Path) -> Path | None:
    import shutil

    if not answer.seek(0, os.SEEK_END):
        return None  # it could not even be read
    answer.seek(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            shutil.copyfileobj(answer, file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _end(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _OUTPUT))
    return _COLOURS.sub("", file.read().decode(errors="replace"))


@contextmanager
def _redirected(output: IO[bytes], errors: IO[bytes]) -> Iterator[None]:
    """What is started inside reads nothing, and prints into these files, whatever engine starts it."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in range(3)]
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        for number, descriptor in enumerate((null, output.fileno(), errors.fileno())):
            os.dup2(descriptor, number)
        yield
    finally:
        os.close(null)
        for number, descriptor in enumerate(kept):
            os.dup2(descriptor, number)
            os.close(descriptor)
