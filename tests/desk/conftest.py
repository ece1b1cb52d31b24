from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.desk.on_record import THIS_BOOT

from hotdesk.desk import Desk
from hotdesk.desk import folder as folders
from hotdesk.engines.request import Root

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk on record; nothing runs."""
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path))
    folder = folders.desk_folder("term1")
    folders.make_folder(folder)
    root = Root(tmp_path / "system", tmp_path / "environment")
    desk = Desk("term1", folder, root, None, port=8888, token="t", started=0, boot=THIS_BOOT)
    folders.write_desk(desk)
    (folder / "log").write_text("".join(f"line {number}\n" for number in range(100)))
    return desk
