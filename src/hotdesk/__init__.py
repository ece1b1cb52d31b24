"""hotdesk opens the same deep-learning desk on any machine."""

__version__ = "0.1.0"

COLLECTS_AFTER = 100_000
"""So many new objects until a process of ours looks for garbage in cycles. It makes next to none, and with
Python's own 700 a sixth of the time for unpacking would go into looking."""
