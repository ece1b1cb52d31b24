from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.commandline import Hotdesk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def hotdesk(tmp_path: Path) -> Hotdesk:
    """The command in an empty folder, with an empty store and no desks."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return Hotdesk(folder, tmp_path / "store", tmp_path / "data", {"NO_COLOR": "1", "HOME": str(tmp_path)})
