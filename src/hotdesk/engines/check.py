"""What the doctor finds out about the host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One finding about the host; `why` says what was seen, `cure` what to do about it where it is not ok.

    With `needed` False a desk opens all the same, with less protection or later.
    """

    name: str
    ok: bool
    why: str = ""
    cure: str = ""
    needed: bool = True
