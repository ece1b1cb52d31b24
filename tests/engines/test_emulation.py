from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from hotdesk.engines.emulation import require_programs, smallest_program
from hotdesk.errors import EngineError
from hotdesk.project import host_platform

if TYPE_CHECKING:
    from pathlib import Path


def test_the_smallest_program_of_this_machines_own_runs(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(smallest_program(host_platform()))
    program.chmod(0o755)

    assert subprocess.run([program], check=False).returncode == 0


def test_this_machines_own_platform_needs_no_trial(tmp_path: Path) -> None:
    require_programs(host_platform(), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_platform_that_nobody_knows_has_no_programs(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        require_programs("linux/vax", tmp_path)

    assert caught.value.what == "an image for `linux/vax` cannot be built here"
    assert "made by its own programs" in caught.value.why
    assert "or build it on such a machine" in caught.value.hint
