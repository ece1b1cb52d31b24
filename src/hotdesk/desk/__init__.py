"""Desks: what this user has opened, whether it runs or not."""

from hotdesk.desk.folder import Desk, data_path, write_opener
from hotdesk.desk.life import EarlyDesk, Opened, early_desk, end_abandoned, open_desk, remove, stop
from hotdesk.desk.order import DeskOrder
from hotdesk.desk.register import Damaged, Owner, claim, desks, find, occupied, survey
from hotdesk.desk.state import Condition, DeskState, condition, read_log, wait_until_ready

__all__ = [
    "Condition",
    "Damaged",
    "Desk",
    "DeskOrder",
    "DeskState",
    "EarlyDesk",
    "Opened",
    "Owner",
    "claim",
    "condition",
    "data_path",
    "desks",
    "early_desk",
    "end_abandoned",
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
