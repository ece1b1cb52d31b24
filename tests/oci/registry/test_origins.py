"""Where blobs were seen: a hint, and never more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotdesk.oci.registry.origins import mountable, remember
from hotdesk.oci.registry.reference import parse_reference

if TYPE_CHECKING:
    from hotdesk.store import Store

DIGEST = "sha256:" + "ab" * 32
HERE = parse_reference("registry.example/team/desk:1")


def test_nothing_is_known_at_first(store: Store) -> None:
    assert mountable(store, DIGEST, HERE) == ""


def test_the_newest_other_repository_of_the_same_registry(store: Store) -> None:
    for seen in (
        "registry.example/one",
        "registry.example/two:5",
        "other.example/three",
        "registry.example/team/desk",
    ):
        remember(store, DIGEST, parse_reference(seen))

    assert mountable(store, DIGEST, HERE) == "two"
    assert mountable(store, DIGEST, parse_reference("other.example/x")) == "three"
    assert mountable(store, DIGEST, parse_reference("registry.example:5000/x")) == ""


def test_few_are_kept(store: Store) -> None:
    for number in range(20):
        remember(store, DIGEST, parse_reference(f"registry.example/desk{number}"))

    assert len((store.root / "origins" / ("ab" * 32)).read_text().split()) == 8


def test_what_others_wrote_there_is_read_with_care(store: Store) -> None:
    place = store.root / "origins" / ("ab" * 32)
    place.parent.mkdir(parents=True)
    place.write_text("registry.example/../x\nnonsense\nregistry.example/good")
    assert mountable(store, DIGEST, HERE) == "good"

    place.write_bytes(b"\xff")
    assert mountable(store, DIGEST, HERE) == ""
