from __future__ import annotations

from pathlib import Path

import pytest

from hotdesk.engines.folders import check_project
from hotdesk.errors import UsageError


@pytest.mark.parametrize("path", ["/", "/proc", "/sys/kernel", "/dev/shm", "/etc/passwd", "/no/such"])
def test_nonsense_is_no_project(path: str) -> None:
    with pytest.raises(UsageError):
        check_project(Path(path))


def test_a_link_to_the_whole_machine_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")

    with pytest.raises(UsageError, match="whole machine"):
        check_project(tmp_path / "link")
