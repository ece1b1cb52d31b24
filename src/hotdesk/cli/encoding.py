"""Names of files are UTF-8 in every .deb and wheel, whatever the caller's locale says of this machine's."""

from __future__ import annotations

import os
import sys


def restart_in_utf8() -> None:
    """Start this program again with Python's UTF-8 mode where it could not write such names as they are.

    Python does so by itself in the C locale, unless told not to, and in no other.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        # The option for this process, even in isolated mode; the variable for those that it starts.
        arguments = [sys.executable, "-X", "utf8", *sys.orig_argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, "PYTHONUTF8": "1"})  # noqa: S606
