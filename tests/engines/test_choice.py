from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.engines.choice import default_engine
from hotdesk.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_word_it_is_the_sandbox(tmp_path: Path) -> None:
    assert default_engine({}, tmp_path / "absent.toml") == "sandbox"


def test_the_variable_wins_over_the_settings(tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text('engine = "podman"\n[debian]\nmirror = "https://mirror.example/debian"\n')

    assert default_engine({}, settings) == "podman"
    assert default_engine({"HOTDESK_ENGINE": ""}, settings) == "podman"
    assert default_engine({"HOTDESK_ENGINE": "docker"}, settings) == "docker"


@pytest.mark.parametrize("text", ['engine = "dokcer"\n', "engine = 1\n", "[engine]\n", "engine = \n"])
def test_what_is_no_engine_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text(text)

    with pytest.raises(SettingsError, match=r"config\.toml"):
        default_engine({}, settings)
    with pytest.raises(SettingsError, match="HOTDESK_ENGINE") as caught:
        default_engine({"HOTDESK_ENGINE": "dokcer"}, settings)
    assert caught.value.hint == "set it to `sandbox`, `docker`, `podman`"
