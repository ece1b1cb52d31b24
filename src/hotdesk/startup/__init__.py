"""What every Python of a desk does before anything else; in the environment this is the package `_hotdesk`.

What was installed by hand lies below ~/.local and is searched last: where the lock has a module too, that one
counts. And what a library needs when it is imported is done then: see `WHEN_IMPORTED`.

The environment cannot be written, so this file is compiled at every start: little is in it, and it imports
nothing that is not there anyway. It knows nothing of the rest of hotdesk.
"""

import os
import site
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType

WHEN_IMPORTED: "dict[str, Callable[[ModuleType], None]]" = {}
"""What is to be done with a module, by its name, once it was loaded for the first time."""


def start() -> None:
    """What the environment's `.pth` line calls, once for each time that `site` reads the folder."""
    if WHEN_IMPORTED and _OnImport not in sys.meta_path:
        sys.meta_path.insert(0, _OnImport)
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        return
    if not sys.flags.isolated:
        _search_last(by_hand(home))
    if _is_pip():
        from . import pip_command

        pip_command.prepare(sys.argv, f"{home}/.local", by_hand(home))


def by_hand(home: str) -> str:
    """The folder of the modules that were installed by hand for this Python."""
    return f"{home}/.local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def _search_last(folder: str) -> None:
    site.addsitedir(folder)
    if folder not in sys.path_importer_cache and not os.path.isdir(folder):
        # Python would remember that there is no such folder; a kernel is to find what comes into it later.
        from importlib import machinery

        sys.path_importer_cache[folder] = machinery.FileFinder(
            folder,
            (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
            (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
            (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
        )


def _is_pip() -> bool:
    """Whether this process is `pip` or `python -m pip`: the module's name is only in the first words."""
    if sys.argv[:1] == ["-m"]:
        return sys.orig_argv[-len(sys.argv)] in ("pip", "-mpip")
    return os.path.basename(sys.argv[0] if sys.argv else "").startswith("pip")


class _OnImport:
    """Finds what others find, and has it done what `WHEN_IMPORTED` tells, once."""

    @staticmethod
    def find_spec(name: str, path: "object" = None, target: "object" = None) -> "ModuleSpec | None":
        then = WHEN_IMPORTED.pop(name, None)
        if then is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is _OnImport else finder.find_spec(name, path, target)  # type: ignore[arg-type]
            if spec is not None:
                _follow(spec, then)
                return spec
        WHEN_IMPORTED[name] = then  # it may be installed later
        return None


def _follow(spec: "ModuleSpec", then: "Callable[[ModuleType], None]") -> None:
    """Have `then` done after the loader has run the module, which keeps its own loader."""
    loader = spec.loader
    load = getattr(loader, "exec_module", None)
    if load is None:
        return

    def load_and_then(module: "ModuleType") -> None:
        load(module)
        then(module)

    loader.exec_module = load_and_then  # type: ignore[union-attr, method-assign]
