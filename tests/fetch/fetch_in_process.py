"""Run as a program: fetch what the arguments name. STORE ADDRESS NAME:SIZE:SHA256…; prints what arrived."""

from __future__ import annotations

import sys
from pathlib import Path

from hotdesk.fetch import Fetcher
from hotdesk.lock import Artifact
from hotdesk.store import Store

if __name__ == "__main__":
    root, address, *wanted = sys.argv[1:]
    artifacts = []
    for text in wanted:
        name, size, sha256 = text.split(":")
        artifacts.append(Artifact("pypi", name.partition("-")[0], name, int(size), sha256))
    with Fetcher(Store(Path(root)), locate=lambda item: [f"{address}/{item.name}"]) as fetcher:
        for artifact, _ in fetcher.fetch(artifacts):
            print(artifact.name, flush=True)
