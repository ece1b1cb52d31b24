"""Windows, where there may be no display to show them: an exception that tells what to do instead.

Qt ends the whole process where it finds no display, and a notebook's kernel is gone with all that was in it.
"""

import functools
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_PLUGINS = "QT_QPA_PLATFORM_PLUGIN_PATH"
_WITHOUT = (
    "in a notebook, show the picture in the page: plt.imshow(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))\n"
    "for windows, open the desk on a machine with a desktop: hotdesk up --display"
)
_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_OPEN = ("imshow", "namedWindow", "selectROI", "selectROIs")
_WAIT = ("waitKey", "waitKeyEx", "pollKey")


def load_opencv(load: "Callable[[ModuleType], None]", cv2: "ModuleType") -> None:
    """Load it, and have what needs a window look for a display first."""
    load(cv2)
    # OpenCV points every Qt of the process to its own plugins, and another one ends the process over that.
    plugins = os.environ.pop(_PLUGINS, "")
    windows = _Windows(cv2, plugins)
    for name in (*_OPEN, *_WAIT):
        if hasattr(cv2, name):
            setattr(cv2, name, windows.guarded(getattr(cv2, name)))


class _Windows:
    """OpenCV's windows: once there was one, the display is not asked for any more."""

    def __init__(self, cv2: "ModuleType", plugins: str) -> None:
        self._cv2 = cv2
        self._plugins = plugins
        self._open = not plugins  # no Qt: OpenCV says so itself

    def guarded(self, function: "Callable[..., object]") -> "Callable[..., object]":
        @functools.wraps(function)
        def show(*arguments: object, **named: object) -> object:
            if self._open:
                return function(*arguments, **named)
            why = _unusable(self._plugins)
            if why:
                raise self._cv2.error(f"cv2.{function.__name__} needs a display: {why}\n{_WITHOUT}")
            os.environ[_PLUGINS] = self._plugins
            try:
                answer = function(*arguments, **named)
            finally:
                del os.environ[_PLUGINS]
            self._open = function.__name__ in _OPEN
            return answer

        return show


def _unusable(plugins: str) -> str:
    """Why Qt would not start, and end the process; nothing where it would."""
    wanted = os.environ.get("QT_QPA_PLATFORM", "xcb").partition(":")[0]
    if not os.path.exists(f"{plugins}/platforms/libq{wanted}.so"):
        return f"QT_QPA_PLATFORM is `{wanted}`, which OpenCV does not have"
    return x11_trouble() if wanted == "xcb" else ""


def x11_trouble() -> str:
    """Why there is no X server to be had; nothing where there is."""
    import ctypes

    display = os.environ.get("DISPLAY")
    if not display:
        return "this desk has none"
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return "the library libxcb.so.1 is missing (`hotdesk add --debian libxcb1`)"
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    refused = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return f"`{display}` does not let it in; was it there when the desk was opened?" if refused else ""
