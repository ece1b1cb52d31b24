"""Hosts on which a sandbox cannot start, made for real in a namespace of the test's own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.support.host import lacking

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("namespaces")]

_CHECKS = """
import json
from dataclasses import asdict
from hotdesk.engines.checks import sandbox_starts
print(json.dumps([asdict(check) for check in sandbox_starts()]))
"""


def checks_after(preparation: str) -> list[dict[str, str | bool]]:
    """What doctor finds on a host prepared by this shell script; it is root in its own user namespace."""
    script = f'{preparation}\nexec "$0" -c "$1"'
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script, sys.executable, _CHECKS]
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    if result.returncode:
        lacking(f"this host cannot be prepared so: {result.stderr.strip()}")
    found: list[dict[str, str | bool]] = json.loads(result.stdout)
    return found


def test_this_host_starts_a_sandbox() -> None:
    assert [check["ok"] for check in checks_after("true")] == [True]


def test_no_namespaces_left() -> None:
    sandbox, cause = checks_after("echo 0 > /proc/sys/user/max_user_namespaces")

    assert "ENOSPC" in str(sandbox["why"])
    assert "user.max_user_namespaces is 0" in str(cause["why"])


def test_a_covered_proc() -> None:
    sandbox, cause = checks_after("mount -t tmpfs none /proc/bus")

    assert "proc" in str(sandbox["why"])
    assert "/proc/bus" in str(cause["why"])
    assert "systempaths=unconfined" in str(cause["cure"])
