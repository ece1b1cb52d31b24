"""How a blob gets into a repository where not all goes well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.images import noise

from hotdesk.errors import StoreError
from hotdesk.fetch.transfer import Stop
from hotdesk.oci.model import LAYER, Blob, Descriptor, digest_of
from hotdesk.oci.registry import upload as uploads
from hotdesk.oci.registry.reference import parse_reference
from hotdesk.oci.registry.session import Session
from hotdesk.oci.registry.upload import Content, Upload

if TYPE_CHECKING:
    from tests.support.small_registry import SmallRegistry

    from hotdesk.oci.registry.session import Patience

SIZE = 3_000_000


def upload(registry: SmallRegistry, patience: Patience, content: bytes) -> list[int]:
    """Bring it there; what was reported."""
    reported: list[int] = []
    blob = Blob(Descriptor(LAYER, digest_of(content), len(content)), lambda: iter((content[:7], content[7:])))
    with Session(parse_reference(f"{registry.host}/desk:1"), "pull,push", patience=patience) as session:
        assert Upload(session, blob, stop=Stop(), report=reported.append).run() == "sent"
    assert registry.blobs[digest_of(content)] == content
    return reported


def test_one_request_carries_a_whole_blob(registry: SmallRegistry, patience: Patience) -> None:
    reported = upload(registry, patience, noise(SIZE))

    assert [request.length for request in registry.of("PUT")] == [SIZE]
    assert registry.of("PATCH") == []
    assert sum(reported) == SIZE


def test_the_query_of_a_location_is_kept(registry: SmallRegistry, patience: Patience) -> None:
    upload(registry, patience, noise(10))

    assert "?_state=a%2Fb&x=1&digest=sha256%3A" in registry.of("PUT")[0].path


def test_an_empty_blob(registry: SmallRegistry, patience: Patience) -> None:
    upload(registry, patience, b"")


def test_what_has_arrived_before_a_break_is_not_sent_again(
    registry: SmallRegistry, patience: Patience
) -> None:
    registry.breaks_after = [2_000_000]

    reported = upload(registry, patience, noise(SIZE))

    assert registry.sent() == SIZE
    assert [request.headers["Content-Range"] for request in registry.of("PATCH")] == ["2000000-2999999"]
    assert sum(reported) == SIZE


def test_several_breaks_are_survived_while_it_gets_on(registry: SmallRegistry, patience: Patience) -> None:
    registry.breaks_after = [1_000_000, 500_000, 300_000]

    upload(registry, patience, noise(SIZE))

    assert registry.sent() == SIZE


def test_parts_are_sent_where_the_registry_takes_no_more(
    registry: SmallRegistry, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PARTS", (2_000_000, 1_000_000))
    registry.largest_request = 1_000_000

    upload(registry, patience, noise(SIZE + 5))

    assert [request.length for request in registry.of("PATCH")][-4:] == [1_000_000, 1_000_000, 1_000_000, 5]


def test_a_part_is_no_smaller_than_the_registry_wants(
    registry: SmallRegistry, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PARTS", (100_000,))
    registry.largest_request, registry.least_part = 2_000_000, 1_500_000

    upload(registry, patience, noise(SIZE))

    assert [request.length for request in registry.of("PATCH")] == [1_500_000, 1_500_000]


def test_a_part_that_does_not_fit_goes_on_where_the_registry_stands(
    registry: SmallRegistry, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PARTS", (1_000_000,))
    registry.largest_request = 1_000_000

    def out_of_step(handler: object) -> None:
        next(reversed(registry.uploads.values())).extend(content[:600_000])
        del registry.uploads["upload0"]
        handler.body()  # type: ignore[attr-defined]
        handler.send(416)  # type: ignore[attr-defined]

    content = noise(SIZE)
    registry.turns.append(("PATCH", out_of_step))

    upload(registry, patience, content)

    assert registry.of("PATCH")[1].headers["Content-Range"] == "600000-1599999"


def test_bytes_that_came_out_otherwise_are_not_sent_to_their_end(
    registry: SmallRegistry, patience: Patience
) -> None:
    content = noise(SIZE)
    blob = Blob(Descriptor(LAYER, digest_of(content), SIZE), lambda: iter((content[:-1], b"?")))
    reference = parse_reference(f"{registry.host}/desk:1")
    with Session(reference, "pull,push", patience=patience) as session:
        one = Upload(session, blob, stop=Stop(), report=lambda _: None)
        with pytest.raises(StoreError, match="cannot be made again as it was"):
            one.run()

    assert registry.blobs == {}
    assert registry.sent() < SIZE


@pytest.mark.parametrize("made", [noise(SIZE) + b"?", noise(SIZE)[:-1], b""])
def test_more_or_less_than_there_should_be(made: bytes) -> None:
    content = noise(SIZE)
    blob = Blob(Descriptor(LAYER, digest_of(content), SIZE), lambda: iter((made,)))

    with pytest.raises(StoreError):
        list(Content(blob, lambda _: None).blocks(0, SIZE))


def test_content_from_any_position_and_again() -> None:
    content = noise(SIZE)
    pieces = [content[start : start + 700_000] for start in range(0, SIZE, 700_000)]
    read = Content(Blob(Descriptor(LAYER, digest_of(content), SIZE), lambda: iter(pieces)), lambda _: None)

    for start, end in [(0, 100), (2_999_999, SIZE), (5, 1_500_000), (1_500_000, SIZE), (0, SIZE), (7, 7)]:
        blocks = list(read.blocks(start, end))
        assert b"".join(blocks) == content[start:end]
        assert max(map(len, blocks), default=0) <= uploads.BLOCK
