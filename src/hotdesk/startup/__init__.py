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


_added: "list[str] | None" = None  # to the search path, once `start` was called


def start() -> None:
    """What the environment's `.pth` line calls; Python reads the lines of a virtual environment twice."""
    global _added  # noqa: PLW0603
    if _added is not None:
        if "sitecustomize" in sys.modules:
            # Somebody reads them once more to learn what they add: pip, for a build that is to see nothing.
            sys.path += _added
        return
    _added = []
    if WHEN_IMPORTED:
        sys.meta_path.insert(0, _OnImport)
    home = os.environ.get("HOME", "")
    if not home.startswith("/"):
        return
    folder = by_hand(home)
    if not sys.flags.isolated:
        _search_last(folder)
        _added.append(folder)
    if _is_pip():
        from . import pip_command

        pip_command.prepare(sys.argv, f"{home}/.local", folder)


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
    name = os.path.basename(sys.argv[0] if sys.argv else "")
    return name in ("pip", "pip3", f"pip{sys.version_info[0]}.{sys.version_info[1]}")


class _OnImport:
    """Finds what others find, and has it loaded as `WHEN_IMPORTED` tells."""

    @staticmethod
    def find_spec(name: str, path: "object" = None, target: "object" = None) -> "ModuleSpec | None":
        if name not in WHEN_IMPORTED:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)  # old ones have none, and Python passes them over
            spec: ModuleSpec | None = find(name, path, target) if find and finder is not _OnImport else None
            if spec is not None:
                _take_over(spec)
                return spec
        return None  # it may be installed later


def _take_over(spec: "ModuleSpec") -> None:
    """Have the module loaded in the other way; its loader stays what it was."""
    loader = spec.loader
    load = getattr(loader, "exec_module", None)
    if load is None:
        return

    def load_once(module: "ModuleType") -> None:
        name = module.__name__
        instead = WHEN_IMPORTED.pop(name, None)  # OpenCV imports its own name once more
        if instead is None:
            load(module)
            return
        try:
            instead(load, module)
        except BaseException:
            WHEN_IMPORTED[name] = instead
            raise

    loader.exec_module = load_once  # type: ignore[union-attr, method-assign]


def _load_opencv(load: "Callable[[ModuleType], None]", module: "ModuleType") -> None:
    from . import windows

    windows.load_opencv(load, module)


def _load_qt(load: "Callable[[ModuleType], None]", module: "ModuleType") -> None:
    from . import windows

    windows.load_qt(load, module)


WHEN_IMPORTED: "dict[str, Callable[[Callable[[ModuleType], None], ModuleType], None]]" = {
    "cv2": _load_opencv,
    "matplotlib.backends.qt_compat": _load_qt,
    "IPython.external.qt_for_kernel": _load_qt,
}
"""What loads a module, by its name, in place of its loader's `exec_module`, which it is given."""
