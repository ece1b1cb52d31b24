"""`pip` in a desk: it works on what was installed by hand, and the locked environment is only there to use.

To pip, ~/.local is the virtual environment that it runs in, so that is where it installs, replaces and
removes; what it finds in /opt/desk it counts as installed, outside of its environment. No setting of pip's
does that: with `--target` it installs again what is locked, and what `--prefix` installed it cannot remove.
"""

import atexit
import logging
import os
import sys

_ELSEWHERE = ("--target", "--prefix", "--root", "--python")


def prepare(arguments: "list[str]", prefix: str, folder: str) -> None:
    """Turn this process, which is about to run pip, to `prefix`; `folder` is where its modules are."""
    locked = site_folder(sys.prefix)
    sys.prefix = sys.exec_prefix = prefix
    sys.modules.pop("sysconfig", None)  # it may have seen the other prefix
    # It has not the file that tells whether the Python below shows its own packages, which pip remarks upon.
    logging.getLogger("pip._internal.utils.virtualenv").setLevel(logging.ERROR)
    os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")  # the lock decides which pip there is
    if "uninstall" in arguments[1:] and {folder, locked} <= {*sys.path}:
        sys.path.remove(folder)
        sys.path.insert(sys.path.index(locked), folder)  # where the lock has it too, this copy can be removed
    if "install" in arguments[1:] and not any(map(_is_elsewhere, arguments)):
        _keep_to_the_lock(arguments, locked)
        atexit.register(_tell_what_is_hidden, folder, locked)


def _is_elsewhere(argument: str) -> bool:
    return argument.partition("=")[0] in _ELSEWHERE or argument.startswith("-t")


def _keep_to_the_lock(arguments: "list[str]", locked: str) -> None:
    """What comes by hand must fit what is locked, since another version of that would never be imported.

    An argument counts for this process alone, a variable would for the builds of packages too.
    """
    where = arguments.index("install") + 1
    arguments[where:] = [word for word in arguments[where:] if word != "--user"]  # it is that very folder
    constraints = os.memfd_create("locked")
    os.write(constraints, "".join(f"{name}=={version}\n" for name, version in packages(locked)).encode())
    arguments.insert(where, f"--constraint=/proc/self/fd/{constraints}")
    logging.getLogger("pip._internal.resolution.resolvelib.factory").addFilter(_explain)


_EXPLANATION = """
hotdesk: what pip calls a constraint is locked in this desk. Another version of it, installed by hand, would
         never be imported. Outside of the desk `hotdesk add` and `hotdesk lock --upgrade` change the lock.
"""


def _explain(record: logging.LogRecord) -> bool:
    """Once pip has said that versions do not go together."""
    if record.levelno >= logging.CRITICAL:
        atexit.register(sys.stderr.write, _EXPLANATION)
    return True


def _tell_what_is_hidden(folder: str, locked: str) -> None:
    """A package of another name may have brought a module that the lock has: that one is imported."""
    if both := hidden_modules(folder, locked):
        sys.stderr.write(f"\nhotdesk: not used, since what is locked comes first: {', '.join(both)}\n")


def hidden_modules(folder: str, locked: str) -> "list[str]":
    if not os.path.isdir(folder):
        return []
    names = {name for name in os.listdir(folder) if not name.endswith((".dist-info", "__pycache__", ".pth"))}
    return sorted(name for name in names & {*os.listdir(locked)} if not _is_namespace(f"{locked}/{name}"))


def _is_namespace(path: str) -> bool:
    """A folder that several packages may add modules to."""
    return os.path.isdir(path) and not os.path.exists(f"{path}/__init__.py")


def site_folder(prefix: str) -> str:
    return f"{prefix}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def packages(folder: str) -> "list[tuple[str, str]]":
    """The packages in a folder, each with its version."""
    found = []
    for entry in sorted(os.listdir(folder)):
        name, _, version = entry.removesuffix(".dist-info").rpartition("-")
        if name and entry.endswith(".dist-info"):
            found.append((name, version))
    return found
