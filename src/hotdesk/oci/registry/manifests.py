"""What a registry has at a tag or a digest, checked against that digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.errors import UnsafeImageError
from hotdesk.oci.documents import INDEXES, LARGEST_DOCUMENT, MANIFESTS, Index, Manifest, parse_document
from hotdesk.oci.model import digest_of
from hotdesk.oci.registry.session import read_at_most

if TYPE_CHECKING:
    from hotdesk.oci.model import Descriptor
    from hotdesk.oci.registry.session import Session

_ACCEPT = ", ".join(sorted(MANIFESTS) + sorted(INDEXES))


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest or an index, with its bytes."""

    content: bytes
    digest: str
    document: Manifest | Index


def find_manifest(session: Session, version: str) -> Found | None:
    """What is there at the tag or digest `version`; None where nothing is."""

    def work() -> Found | None:
        url = session.url(f"manifests/{version}")
        with session.stream("GET", url, headers={"Accept": _ACCEPT}) as response:
            session.expect(response, 200, 404)
            if response.status_code == 404:
                return None
            content = read_at_most(response, LARGEST_DOCUMENT)
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
            told = response.headers.get("Docker-Content-Digest", "")
        wanted = version if version.startswith("sha256:") else told
        return _checked(content, wanted if wanted.startswith("sha256:") else "", kind)

    return session.persist(work)


def read_blob(session: Session, descriptor: Descriptor) -> bytes:
    """A small blob, whole."""

    def work() -> bytes:
        with session.stream("GET", session.url(f"blobs/{descriptor.digest}")) as response:
            session.expect(response, 200)
            content = read_at_most(response, descriptor.size)
        _check(content, descriptor.digest)
        return content

    return session.persist(work)


def _checked(content: bytes, wanted: str, kind: str) -> Found:
    digest = _check(content, wanted)
    kind = kind if kind in MANIFESTS | INDEXES else ""
    return Found(content, digest, parse_document(content, kind))


def _check(content: bytes, wanted: str) -> str:
    digest = digest_of(content)
    if wanted and digest != wanted:
        raise UnsafeImageError(
            f"the registry sent something else than {wanted}", why=f"what came has the digest {digest}"
        )
    return digest
