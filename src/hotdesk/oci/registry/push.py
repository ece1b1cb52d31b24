"""Images into a repository: blobs, configurations, manifests by digest, and last the tag."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotdesk.errors import RegistryError, UsageError
from hotdesk.oci.documents import Index, parse_config
from hotdesk.oci.model import INDEX, Blob, canonical
from hotdesk.oci.registry.crew import for_each
from hotdesk.oci.registry.manifests import find_manifest, read_blob
from hotdesk.oci.registry.origins import mountable, remember
from hotdesk.oci.registry.problems import explained
from hotdesk.oci.registry.session import CONNECTIONS, PATIENT, Patience, Session
from hotdesk.oci.registry.upload import Upload, is_there
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hotdesk.fetch.transfer import Stop
    from hotdesk.oci.model import Image
    from hotdesk.oci.registry.reference import Reference
    from hotdesk.progress import Progress
    from hotdesk.store import Store


@dataclass(frozen=True, slots=True)
class Pushed:
    """`digest` is what the tag leads to; blobs were there, mounted or sent, and `size` bytes sent."""

    reference: Reference
    digest: str
    there: int
    mounted: int
    sent: int
    size: int


def push(
    store: Store,
    images: Sequence[Image],
    reference: Reference,
    *,
    join: bool = False,
    progress: Progress = SILENT,
    patience: Patience = PATIENT,
) -> Pushed:
    """Bring the images to the tag of `reference`: one as it is, several as an index by platform.

    With `join` they become part of what is at the tag, and take the place of those for their platforms.
    """
    if reference.digest:
        raise UsageError(
            f"`{reference}` names an image by its digest",
            why="a push goes to a tag; the digest follows from what is pushed",
            hint=f"push to `{reference.registry}/{reference.repository}:TAG`",
        )
    layers = _unique(layer.blob for image in images for layer in image.layers)
    origins = {blob.descriptor.digest: mountable(store, blob.descriptor.digest, reference) for blob in layers}
    others = sorted({origin for origin in origins.values() if origin})
    session = Session(reference, "pull,push", others=others, patience=patience, note=progress.note)
    with explained(session, f"`{reference}` cannot be pushed"), session:
        sending = _Sending(store, session, origins, progress)
        sending.send(layers, _unique(image.config_blob for image in images))
        top = images[0].manifest if len(images) == 1 and not join else _index(session, images, join=join)
        manifests = {blob.descriptor.digest: blob for blob in (*(image.manifest for image in images), top)}
        for digest, manifest in manifests.items():
            _put_manifest(session, manifest, digest)
        _put_manifest(session, top, reference.tag)
    count = sending.outcomes
    return Pushed(
        reference, top.descriptor.digest, count["there"], count["mounted"], count["sent"], sending.size
    )


def _unique(blobs: Iterable[Blob]) -> list[Blob]:
    """Each blob once, the large ones before the small, so that no large one is left for the end."""
    found = {blob.descriptor.digest: blob for blob in blobs}
    return sorted(found.values(), key=lambda blob: -blob.descriptor.size)


class _Sending:
    """Blobs on their way, and what became of each."""

    def __init__(self, store: Store, session: Session, origins: dict[str, str], progress: Progress) -> None:
        self._store = store
        self._session = session
        self._origins = origins
        self._progress = progress
        self._lock = threading.Lock()
        self.outcomes: Counter[str] = Counter()
        self.size = 0

    def send(self, *groups: Sequence[Blob]) -> None:
        """Each group, when all of those before it have arrived."""
        missing = [self._missing(blobs) for blobs in groups]
        total = sum(blob.descriptor.size for blobs in missing for blob in blobs)
        if not total:
            return
        with self._progress.task("pushing", total, "bytes") as task:

            def upload(blob: Blob, stop: Stop) -> None:
                one = Upload(self._session, blob, stop=stop, report=task.advance)
                self._note(blob, one.run(self._origins.get(blob.descriptor.digest, "")))

            for blobs in missing:
                for_each(blobs, upload, CONNECTIONS)

    def _missing(self, blobs: Sequence[Blob]) -> list[Blob]:
        missing: list[Blob] = []

        def look(blob: Blob, _: Stop) -> None:
            if is_there(self._session, blob.descriptor):
                self._note(blob, "there")
            else:
                missing.append(blob)

        for_each(blobs, look, CONNECTIONS)
        return _unique(missing)

    def _note(self, blob: Blob, outcome: str) -> None:
        remember(self._store, blob.descriptor.digest, self._session.reference)
        with self._lock:
            self.outcomes[outcome] += 1
            self.size += blob.descriptor.size if outcome == "sent" else 0


def _put_manifest(session: Session, manifest: Blob, version: str) -> None:
    content = b"".join(manifest.chunks())

    def work() -> None:
        headers = {"Content-Type": manifest.descriptor.media_type}
        url = session.url(f"manifests/{version}")
        with session.stream("PUT", url, headers=headers, content=content) as response:
            session.expect(response, 201, 200, 202)
            told = response.headers.get("Docker-Content-Digest", "")
            if told.startswith("sha256:") and told != manifest.descriptor.digest:
                raise RegistryError(
                    f"the registry changed what was pushed as `{session.reference}`",
                    why=f"{manifest.descriptor.digest} was sent, and it calls it {told}",
                    hint="ask whoever runs the registry",
                )

    session.persist(work)


def _index(session: Session, images: Sequence[Image], *, join: bool) -> Blob:
    """The index of the images, and of those at the tag for other platforms."""
    rows = {image.platform: image.manifest.descriptor.to_json() for image in images}
    kept: list[dict[str, Any]] = []
    for platform, row in _rows_at_tag(session) if join else ():
        kept.append(rows.pop(platform, row))
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*kept, *rows.values()]}
    return Blob.of(canonical(document), INDEX)


def _rows_at_tag(session: Session) -> list[tuple[str, dict[str, Any]]]:
    """What is at the tag, by platform: the entries of an index, or one made for a single image."""
    found = find_manifest(session, session.reference.tag)
    if found is None:
        return []
    if isinstance(found.document, Index):
        platforms = (descriptor.platform for descriptor in found.document.manifests)
        return list(zip(platforms, found.document.rows, strict=True))
    manifest = found.document
    platform = parse_config(read_blob(session, manifest.config), len(manifest.layers)).platform
    blob = Blob.of(found.content, manifest.media_type, platform)
    return [(platform, json.loads(canonical(blob.descriptor.to_json())))]
