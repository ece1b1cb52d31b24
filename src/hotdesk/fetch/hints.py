"""Where an artifact was last seen: saves asking an index.

Only a hint: what it leads to is hashed like all else.
One file for each artifact, `locations/HEX`, that arrives by rename: any number of processes may write.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from hotdesk.lock import Artifact
    from hotdesk.store import Store


def remember(store: Store, artifact: Artifact, url: str) -> None:
    """Note where the artifact is; credentials in the address are not written down.

    A query may be one (a signature, a token), and without it the address is another's.
    """
    folder = store.root / "locations"
    temporary = folder / f".{artifact.sha256}.{os.getpid()}.{threading.get_ident()}"
    with suppress(OSError, ValueError):  # a hint is not worth an error
        parts = urlsplit(url)
        if parts.query:
            return
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(bare, encoding="utf-8")
        temporary.replace(folder / artifact.sha256)


def recall(store: Store, artifact: Artifact) -> str:
    """The noted address, or nothing."""
    try:
        return (store.root / "locations" / artifact.sha256).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
