"""Windows, where there may be no display to show them: an exception that tells what to do instead.

Qt ends the whole process where it finds no display or lacks a library, and a notebook's kernel is gone with
all that was in it.
"""

import functools
import importlib.util
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Load = Callable[[ModuleType], None]

_PLUGINS = "QT_QPA_PLATFORM_PLUGIN_PATH"
_OPENERS = (
    "imshow",
    "namedWindow",
    "selectROI",
    "selectROIs",
)  # all else of OpenCV's needs one of these first
_BINDINGS = {"PyQt6": "Qt6", "PySide6": "Qt", "PyQt5": "Qt5", "PySide2": "Qt"}
"""Python's packages for Qt, each with its folder of Qt's own files."""

_DISPLAY = "on a machine with a desktop, `hotdesk up --display` opens the desk with its display"
_OPENCV_NEEDS = "libsm6"
_QT_NEEDS = (
    "libgl1 libegl1 libdbus-1-3 libfontconfig1 libwayland-cursor0 libxkbcommon-x11-0 "
    "libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0"
)
"""Debian packages."""


def _point_to(plugins: str) -> None:
    os.environ.pop(_PLUGINS, None)
    if plugins:
        os.environ[_PLUGINS] = plugins


def load_opencv(load: "Load", cv2: "ModuleType") -> None:
    """Load it, and have what opens a window look first whether that can be."""
    before = os.environ.pop(_PLUGINS, "")
    load(cv2)
    # OpenCV points every Qt of the process to its own plugins, and another one ends the process over that.
    plugins = os.environ.get(_PLUGINS, "")
    _point_to(before)
    if not plugins:
        return  # built without Qt: it says so itself
    if fonts := _fonts():
        os.environ["QT_QPA_FONTDIR"] = fonts
    opened = False

    def guarded(function: "Callable[..., object]") -> "Callable[..., object]":
        @functools.wraps(function)
        def open_window(*arguments: object, **named: object) -> object:
            nonlocal opened
            if opened:
                return function(*arguments, **named)
            why = _trouble(plugins, _OPENCV_NEEDS)
            if why:
                raise cv2.error(
                    f"cv2.{function.__name__} cannot open a window: {why}\n"
                    "in a notebook, show the picture in the page: "
                    "plt.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))\n"
                    f"{_DISPLAY}"
                )
            _point_to(plugins)
            try:
                answer = function(*arguments, **named)
            finally:
                _point_to(before)
            opened = True
            return answer

        return open_window

    for name in _OPENERS:
        if hasattr(cv2, name):
            setattr(cv2, name, guarded(getattr(cv2, name)))


def load_qt(load: "Load", module: "ModuleType") -> None:
    """Load what chooses a Qt, where there is one that can open windows."""
    found = {name: spec for name in _BINDINGS if (spec := importlib.util.find_spec(name))}
    if not found:
        raise ImportError(
            "Qt's windows need a Python package for Qt, and this desk has none\n"
            "`%matplotlib inline` shows pictures in the page\n"
            f"for windows: `hotdesk add pyside6-essentials`, `hotdesk add --debian {_QT_NEEDS}`\n{_DISPLAY}"
        )
    name, spec = next(iter(found.items()))
    folder = next(iter(spec.submodule_search_locations or ()), "")
    why = _trouble(f"{folder}/{_BINDINGS[name]}/plugins", _QT_NEEDS)
    if why:
        raise ImportError(
            f"{name} cannot open a window: {why}\n`%matplotlib inline` shows pictures in the page\n{_DISPLAY}"
        )
    load(module)


def _trouble(plugins: str, packages: str) -> str:
    """Why Qt, with its plugins in this folder, would end the process; nothing where it would not."""
    platform = os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    try:
        there = os.listdir(f"{plugins}/platforms")
    except OSError:
        return ""  # it has them elsewhere
    if platform in ("", "xcb") and not os.environ.get("DISPLAY"):
        if platform or not os.environ.get("WAYLAND_DISPLAY"):
            return "this desk has no display"
        platform = next((name[4:-3] for name in there if name.startswith("libqwayland")), "wayland")
    platform = platform or "xcb"
    plugin = f"libq{platform}.so"
    if plugin not in there:
        return f"its Qt has nothing for the display, which is `{platform}`"
    if missing := _lacks_library(f"{plugins}/platforms/{plugin}"):
        return f"{missing}; `hotdesk add --debian {packages}` adds all that it needs"
    return _lacks_x11() if platform == "xcb" else ""


def _fonts() -> str:
    """A folder with fonts; OpenCV brings none, and then what its windows have to say cannot be read."""
    spec = importlib.util.find_spec("matplotlib")
    folders = [f"{folder}/mpl-data/fonts/ttf" for folder in (spec and spec.submodule_search_locations) or ()]
    return next((folder for folder in folders if os.path.isdir(folder)), "")


def _lacks_library(plugin: str) -> str:
    import ctypes

    try:
        ctypes.CDLL(plugin)
    except OSError as error:
        return str(error)  # `libSM.so.6: cannot open shared object file: No such file or directory`
    return ""


def _lacks_x11() -> str:
    """Why the display lets nobody in, asked as every program of X11 does; the library is there by now."""
    import ctypes

    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    refused = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    display = os.environ.get("DISPLAY")
    return f"the display `{display}` is gone, or does not let this desk in; open it again" if refused else ""
