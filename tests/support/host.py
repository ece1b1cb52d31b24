"""What a test needs of the host it runs on."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """Skip the test for what the host lacks.

    As root on Debian, where `tests/prepare` installs what there is to install, it fails: a run there skips
    nothing but what the kernel or the file system lacks, and whoever reads "passed" may believe it.
    """
    if os.geteuid() == 0 and shutil.which("apt-get"):
        pytest.fail(f"{what}; as root on Debian, everything is to be tested")
    pytest.skip(what)
