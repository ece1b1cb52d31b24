from __future__ import annotations

import io

import pytest

from hotdesk.engines.programs import builder, read_said
from hotdesk.errors import SettingsError


def test_who_wants_a_builder_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_BUILDER", "podman")
    assert builder() == "podman"

    monkeypatch.setenv("HOTDESK_BUILDER", "make")
    with pytest.raises(SettingsError, match="HOTDESK_BUILDER"):
        builder()


def test_of_a_long_log_the_beginning_and_the_end_are_kept() -> None:
    said = read_said(io.BytesIO(b"begin" + b"x" * (3 << 20) + b"end"))

    assert said.startswith(b"begin")
    assert said.endswith(b"end")
    assert len(said) < 2 << 20
    assert read_said(io.BytesIO(b"all")) == b"all"
