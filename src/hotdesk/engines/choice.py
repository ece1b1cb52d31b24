"""Which engine the user means."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, get_args

from hotdesk.engines.on_linux import may_have_sandbox
from hotdesk.engines.request import EngineName
from hotdesk.errors import EngineError, SettingsError
from hotdesk.settings import read_settings, settings_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hotdesk.engines.request import ContainerEngineName

_VARIABLE, _SETTING = "HOTDESK_ENGINE", "engine"


def default_engine(environment: Mapping[str, str] = os.environ, settings: Path | None = None) -> EngineName:
    """`HOTDESK_ENGINE`, else `engine` in the user's settings, else the sandbox if it can be, else another."""
    if chosen := chosen_engine(_VARIABLE, _SETTING, environment, settings):
        return chosen
    # Not tried, or each command would take longer; where only a trial tells, the error of that says more.
    return "sandbox" if may_have_sandbox() else find_container_engine() or "sandbox"


def find_container_engine() -> ContainerEngineName | None:
    """Docker where it answers, else Podman; None where neither does."""
    from hotdesk.engines.client import ENGINES, Client

    for name in ENGINES:
        try:
            Client.of(name).server()
        except EngineError:
            continue
        return name
    return None


def chosen_engine(
    variable: str, setting: str, environment: Mapping[str, str] = os.environ, settings: Path | None = None
) -> EngineName | None:
    """What the variable says, else the user's settings; None where neither says anything."""
    if named := environment.get(variable):
        return _engine(named, f"the variable {variable}")
    path = settings or settings_path()
    said = read_settings(path).get(setting)
    return None if said is None else _engine(said, f"`{setting}` in {path}")


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
