"""Desks: what this user has opened, whether it runs or not."""

from hotdesk.desk.folder import Desk, data_path, desk_home
from hotdesk.desk.life import (
    Condition,
    DeskOrder,
    DeskState,
    Opened,
    condition,
    desks,
    find,
    open_desk,
    read_log,
    remove,
    stop,
    wait_until_ready,
)

__all__ = [
    "Condition",
    "Desk",
    "DeskOrder",
    "DeskState",
    "Opened",
    "condition",
    "data_path",
    "desk_home",
    "desks",
    "find",
    "open_desk",
    "read_log",
    "remove",
    "stop",
    "wait_until_ready",
]
