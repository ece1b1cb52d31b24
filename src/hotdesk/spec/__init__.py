"""`hotdesk.toml`: what is wanted on a desk, read, checked, compared with a lock, and edited."""

from hotdesk.spec.spec import (
    BASES,
    DEFAULT_VARIANT,
    OCI,
    PLATFORMS,
    SPEC_NAME,
    Checks,
    Spec,
    Variant,
    decode_spec,
    parse_spec,
    read_spec,
    starter_spec,
)
from hotdesk.spec.staleness import explain_stale

__all__ = [
    "BASES",
    "DEFAULT_VARIANT",
    "OCI",
    "PLATFORMS",
    "SPEC_NAME",
    "Checks",
    "Spec",
    "Variant",
    "decode_spec",
    "explain_stale",
    "parse_spec",
    "read_spec",
    "starter_spec",
]
