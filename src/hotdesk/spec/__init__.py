"""`hotdesk.toml`: what is wanted on a desk, read, checked, compared with a lock, and edited."""

from hotdesk.spec.spec import (
    BASES,
    DEFAULT_VARIANT,
    OCI,
    PLATFORMS,
    SPEC_NAME,
    Spec,
    Variant,
    decode_spec,
    explain_stale,
    parse_spec,
    read_spec,
    starter_spec,
)

__all__ = [
    "BASES",
    "DEFAULT_VARIANT",
    "OCI",
    "PLATFORMS",
    "SPEC_NAME",
    "Spec",
    "Variant",
    "decode_spec",
    "explain_stale",
    "parse_spec",
    "read_spec",
    "starter_spec",
]
