"""Hotdesk is imported on every system: a process is made to look like one, and imports all of it.

It shows what is imported and evaluated when a module is; whether a function works there it does not show.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

_FOR_LINUX = (
    "hotdesk.build.compile_script",  # runs inside
    "hotdesk.build.sdist_hooks",
    "hotdesk.desk.in_sandbox",
    "hotdesk.engines.bubblewrap",
    "hotdesk.engines.checks",
    "hotdesk.engines.landlock",
    "hotdesk.engines.launch",
    "hotdesk.engines.namespaces",
    "hotdesk.engines.passing_on",
    "hotdesk.engines.programs_in_sandbox",
    "hotdesk.engines.sandbox",
    "hotdesk.engines.waiting",
    "hotdesk.__main__",
)
_PRETEND = """
import importlib, os, pkgutil, signal, sys, types
import hotdesk

names = [module.name for module in pkgutil.walk_packages(hotdesk.__path__, "hotdesk.")]
names = [name for name in names if name not in set(sys.argv[2:])]
for name in names:  # what others made, for the system that this really is
    importlib.import_module(name)
for name in [name for name in sys.modules if name.partition(".")[0] == "hotdesk"]:
    del sys.modules[name]

sys.platform = sys.argv[1]
linux = {"memfd_create", "pidfd_open", "sched_getaffinity", "waitid"}
posix = {
    "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "PRIO_PROCESS", "ST_RDONLY", "WNOHANG", "chown",
    "fchmod", "fork", "getegid", "geteuid", "getgid", "getuid", "killpg", "mkfifo", "nice", "pread",
    "set_blocking", "setpriority", "setsid", "statvfs", "sync", "sysconf", "tcgetpgrp", "uname", "wait",
}
for name in linux | (posix if sys.platform == "win32" else set()):
    delattr(os, name)
if sys.platform == "win32":
    for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"):
        sys.modules[name] = None
    for name in ("CHLD", "HUP", "KILL", "QUIT", "STOP", "USR1", "XFSZ"):
        delattr(signal, f"SIG{name}")
    del signal.pthread_sigmask
    sys.modules["msvcrt"] = types.ModuleType("msvcrt")
    os.O_BINARY = os.O_NOINHERIT = 0
for name in ("sigwaitinfo", "pidfd_send_signal"):
    delattr(signal, name)

for name in names:
    importlib.import_module(name)
"""
_HELP = """
from hotdesk.cli.main import hotdesk as command
command(["--help"], standalone_mode=False)
"""
_SANDBOX = """
from hotdesk.engines.on_linux import require_sandbox
from hotdesk.errors import EngineError
try:
    require_sandbox()
except EngineError as error:
    print(error.what)
"""


def pretend(system: str, then: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PRETEND + then, system, *_FOR_LINUX],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_every_module_but_the_sandboxs_is_imported_anywhere(system: str) -> None:
    said = pretend(system, _HELP + _SANDBOX)

    assert "Usage:" in said
    assert "this machine makes no sandbox" in said
