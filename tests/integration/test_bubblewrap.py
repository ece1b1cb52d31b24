from __future__ import annotations

import sys

import pytest
from tests.support.terminal import on_a_terminal

pytestmark = pytest.mark.integration

_OPEN_TERMINAL = """
import sys
from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.engines.sandbox import SMALLEST

open("/dev/tty").close()  # here there is one
done = run_bwrap(SMALLEST, ["sh", "-c", "exec 3</dev/tty"], environment={"PATH": "/usr/bin:/bin"})
print("it answers", done.returncode, done.stdout.decode())
"""


def test_what_a_build_runs_has_no_terminal(namespaces: None) -> None:
    said = on_a_terminal([sys.executable, "-c", _OPEN_TERMINAL])

    assert "it answers 2" in said
    assert "/dev/tty: Permission denied" in said
