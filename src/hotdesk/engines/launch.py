"""Start bwrap: the steps between fork and exec that `subprocess` does not offer."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

assert sys.platform == "linux"

from hotdesk.engines.landlock import close_scopes, open_scopes
from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def launch(
    argv: Sequence[str],
    descriptors: Sequence[int],
    *,
    ignored: Iterable[signal.Signals] = (),
    background_output: int | None = None,
) -> int:
    """Start `argv` with an empty environment; its process id, or 0 in the background.

    It inherits `descriptors`, ignores the signals in `ignored`, and blocks none. With
    `background_output` it has a session of its own, and this process is not its parent.
    """
    trouble_reader, trouble_writer = os.pipe()
    scopes = open_scopes()
    child = _fork()
    if child == 0:
        os.close(trouble_reader)
        try:
            if background_output is not None:
                _detach(background_output)
            if scopes is not None:
                close_scopes(scopes)
            _become(argv, descriptors, ignored)
        except OSError as error:
            os.write(trouble_writer, f"{error.strerror}: {error.filename or argv[0]}".encode())
        finally:
            os._exit(1)
    os.close(trouble_writer)
    if scopes is not None:
        os.close(scopes)
    with os.fdopen(trouble_reader, "rb") as reader:
        trouble = reader.read().decode(errors="replace")
    if background_output is not None or trouble:
        os.waitpid(child, 0)
    if trouble:
        raise EngineError("bubblewrap cannot be started", why=trouble, hint="install hotdesk again")
    return 0 if background_output is not None else child


def _fork() -> int:
    # Python 3.12 warns where there are threads, lest the child waits for a lock that one of them holds; this
    # child takes none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _detach(output: int) -> None:
    os.setsid()
    if _fork():
        os._exit(0)
    os.chdir("/")  # or the caller's folder could not be unmounted for as long as the desk runs
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _become(argv: Sequence[str], descriptors: Sequence[int], ignored: Iterable[signal.Signals]) -> NoReturn:
    # What hotdesk itself was started with, a lock or a folder of the host's, would lead out of the sandbox.
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with suppress(OSError):  # the listing's own is closed by now
                os.set_inheritable(int(name), int(name) in descriptors)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores these two
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(argv[0], list(argv), {})  # noqa: S606
