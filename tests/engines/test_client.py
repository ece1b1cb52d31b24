from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.engines.client import DOCKER, Client
from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path


def test_another_program_of_this_name_is_no_engine(tmp_path: Path) -> None:
    """Debian has had a `docker` that puts windows into a panel."""
    (tmp_path / "docker").symlink_to("/bin/echo")
    client = Client(DOCKER, {"PATH": str(tmp_path)})

    for question in (client.server, client.layers, lambda: client.container("desk")):
        with pytest.raises(EngineError):
            question()
