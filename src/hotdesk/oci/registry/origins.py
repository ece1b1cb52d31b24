"""In which repositories a blob was last seen, so that a registry need not be sent what it has elsewhere.

Only a hint. One file for each blob, `origins/HEX`, that arrives by rename.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from hotdesk.errors import UsageError
from hotdesk.oci.pulled import bare
from hotdesk.oci.registry.reference import parse_reference

if TYPE_CHECKING:
    from hotdesk.oci.registry.reference import Reference
    from hotdesk.store import Store

_MOST = 8


def remember(store: Store, digest: str, reference: Reference) -> None:
    """The repository has the blob."""
    where = f"{reference.registry}/{reference.repository}"
    known = _known(store, digest)
    if known[:1] == [where]:
        return
    place = store.root / "origins" / bare(digest)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
    with suppress(OSError):  # a hint is not worth an error
        place.parent.mkdir(parents=True, exist_ok=True)
        newest = [where, *(other for other in known if other != where)][:_MOST]
        temporary.write_text("\n".join(newest), encoding="utf-8")
        temporary.replace(place)


def mountable(store: Store, digest: str, reference: Reference) -> str:
    """Another repository of the same registry that had the blob; empty where none is known."""
    for where in _known(store, digest):
        with suppress(UsageError):
            other = parse_reference(where)
            if other.registry == reference.registry and other.repository != reference.repository:
                return other.repository
    return ""


def _known(store: Store, digest: str) -> list[str]:
    try:
        return (store.root / "origins" / bare(digest)).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
