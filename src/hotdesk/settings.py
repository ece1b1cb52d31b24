"""The user's own settings of hotdesk: `config.toml`, in the folder that the system has for such files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hotdesk.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def settings_path() -> Path:
    from platformdirs import user_config_path  # 15 ms, and most settings have a variable as well

    return user_config_path("hotdesk") / "config.toml"


def read_settings(path: Path) -> Mapping[str, Any]:
    """What the file says, nothing where there is none; `SettingsError` where it cannot be read."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"`{path}` cannot be read", why=str(error)) from None
    except RecursionError:
        raise SettingsError(f"`{path}` cannot be read", why="a value is nested too deep") from None
