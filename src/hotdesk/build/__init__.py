"""A lock becomes a root: the base system and the Python environment that an engine mounts."""
