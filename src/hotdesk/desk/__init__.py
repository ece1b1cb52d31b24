"""Desks: what this user has opened, whether it runs or not."""

from hotdesk.desk.folder import Desk, data_path, write_opener
from hotdesk.desk.life import (
    Condition,
    DeskOrder,
    DeskState,
    Opened,
    condition,
    open_desk,
    read_log,
    remove,
    stop,
    wait_until_ready,
)
from hotdesk.desk.register import Damaged, Owner, claim, desks, find, occupied, survey

__all__ = [
    "Condition",
    "Damaged",
    "Desk",
    "DeskOrder",
    "DeskState",
    "Opened",
    "Owner",
    "claim",
    "condition",
    "data_path",
    "desks",
    "find",
    "occupied",
    "open_desk",
    "read_log",
    "remove",
    "stop",
    "survey",
    "wait_until_ready",
    "write_opener",
]
