"""hotdesk opens the same deep-learning desk on any machine."""

__version__ = "0.1.0"
