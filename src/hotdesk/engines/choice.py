"""Which engine the user means."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, get_args

from hotdesk.engines.request import EngineName
from hotdesk.errors import SettingsError
from hotdesk.settings import read_settings, settings_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VARIABLE = "HOTDESK_ENGINE"


def default_engine(environment: Mapping[str, str] = os.environ, settings: Path | None = None) -> EngineName:
    """`HOTDESK_ENGINE`, else `engine` in the user's settings, else the sandbox."""
    if named := environment.get(_VARIABLE):
        return _engine(named, f"the variable {_VARIABLE}")
    path = settings or settings_path()
    return _engine(read_settings(path).get("engine", "sandbox"), f"`engine` in {path}")


def _engine(named: Any, where: str) -> EngineName:
    for name in get_args(EngineName):
        if named == name:
            found: EngineName = name
            return found
    raise SettingsError(
        f"{where} names no engine",
        why=f"it is `{named}`",
        hint=f"set it to {', '.join(f'`{name}`' for name in get_args(EngineName))}",
    )
