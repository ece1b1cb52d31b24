from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import SettingsError
from hotdesk.settings import read_settings, settings_path

if TYPE_CHECKING:
    from pathlib import Path


def test_settings_are_where_the_system_has_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert settings_path() == tmp_path / "hotdesk" / "config.toml"


def test_without_a_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "absent.toml") == {}


@pytest.mark.parametrize("content", [b"engine = \n", b"\xff", b"x = " + b"[" * 9999])
def test_what_is_no_toml_is_explained(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"config\.toml"):
        read_settings(path)
