from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.oci.images import archive, found_with, image, info, layer, tree, with_config

from hotdesk.errors import ImageError
from hotdesk.oci import validate as validation
from hotdesk.oci.model import LAYER, Blob, canonical
from hotdesk.oci.validate import check_recipes, problems, validate

TREE = tree({"etc/hosts": b"127.0.0.1 localhost\n", "bin": "usr/bin"})


def test_a_sound_image_has_no_problems() -> None:
    sound = image(TREE, tree({"etc/.wh.hosts": b"", "etc/x": b"x"}))

    assert problems(sound) == []
    assert check_recipes(sound) == []


def test_all_problems_are_told_at_once() -> None:
    bad = replace(layer(TREE), diff_id=f"sha256:{'0' * 64}")

    with pytest.raises(ImageError) as caught:
        validate(image(bad, tree({"../x": b""})))

    assert "layer 1" in caught.value.why
    assert "another diff ID" in caught.value.why
    assert "layer 2" in caught.value.why
    assert "outside of its tree" in caught.value.why


def test_a_blob_that_is_not_what_its_descriptor_says_is_told() -> None:
    sound = layer(TREE)
    lied = replace(sound.blob.descriptor, digest=f"sha256:{'1' * 64}")
    longer = replace(sound.blob.descriptor, size=sound.blob.descriptor.size + 1)
    shorter = replace(sound.blob.descriptor, size=sound.blob.descriptor.size - 1)

    for descriptor, word in [(lied, "another digest"), (longer, "another size"), (shorter, "larger than")]:
        (found,) = problems(image(replace(sound, blob=replace(sound.blob, descriptor=descriptor))))
        assert word in found


def test_a_wrong_tar_size_is_told() -> None:
    (found,) = problems(image(replace(layer(TREE), tar_size=1)))

    assert "another size" in found


def test_a_recipe_that_gives_another_archive_is_told() -> None:
    assert check_recipes(image(replace(layer(TREE), tar_chunks=lambda: iter((b"x",)))))


def test_a_gzip_stream_that_is_cut_short_or_damaged_is_told() -> None:
    packed = gzip.compress(TREE, mtime=0)
    damaged = packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]

    for blob in (packed[:-4], packed[: len(packed) // 2], damaged, packed + b"more", b"", b"no gzip at all"):
        assert len(problems(image(layer(TREE, blob)))) == 1


def test_many_gzip_members_are_one_layer() -> None:
    pieces = [TREE[start : start + 100] for start in range(0, len(TREE), 100)]

    assert problems(image(layer(TREE, b"".join(gzip.compress(piece) for piece in pieces)))) == []


def test_a_bomb_is_stopped_while_it_inflates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_SURELY_NO_BOMB", 1 << 20)
    member = gzip.compress(bytes(1 << 20))
    read = []

    def chunks():  # type: ignore[no-untyped-def]
        for number in range(1000):
            read.append(number)
            yield member

    bomb = layer(TREE, member * 1000)
    (found,) = problems(image(replace(bomb, blob=Blob(bomb.blob.descriptor, chunks), tar_size=0)))

    assert "inflates without measure" in found or "cut short" in found
    assert len(read) < 400


def test_all_layers_together_inflate_to_a_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MOST_UNPACKED", 30_000)
    second = tree({"b": b""})

    assert problems(image(TREE, second)) == []
    monkeypatch.setattr(validation, "MOST_UNPACKED", 15_000)
    (found,) = problems(image(TREE, second))
    assert "inflates to more" in found


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"architecture": "arm64"}, "linux/arm64"),
        ({"os": None}, "for amd64"),
        ({"rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]}}, "other diff IDs"),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "tells of 0 layers"),
        ({"rootfs": {"type": "magic"}}, "does not tell the digests"),
        ({"rootfs": {"type": "layers", "diff_ids": ["sha256:../../x"]}}, "does not tell the digests"),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_told(values: dict[str, object], word: str) -> None:
    (found,) = problems(with_config(image(TREE), **values))

    assert word in found


@pytest.mark.parametrize("config", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_a_configuration_that_is_no_json_object_is_told(config: bytes) -> None:
    (found,) = problems(replace(image(TREE), config=config))

    assert "its configuration is" in found


def test_a_manifest_that_does_not_fit_is_told() -> None:
    sound, other = image(TREE), image(tree({"x": b""}))

    found = problems(found_with(sound, b"".join(other.manifest.chunks())))

    assert len(found) == 2
    assert "names the configuration" in found[0]
    assert "layers that are not" in found[1]


@pytest.mark.parametrize(
    "change",
    [
        {"layers": None},
        {"layers": [None]},
        {"layers": [{"mediaType": LAYER, "digest": "sha256:x", "size": 1}]},
        {"layers": [{"mediaType": LAYER, "digest": f"sha256:{'0' * 64}", "size": -1}]},
        {"layers": [{"mediaType": LAYER, "digest": f"sha256:{'0' * 64}", "size": 1 << 50}]},
        {"layers": [{"mediaType": LAYER, "digest": f"sha256:{'0' * 64}", "size": 1}] * 128},
        {"config": {}},
    ],
    ids=range(7),
)
def test_a_malformed_manifest_is_told(change: dict[str, object]) -> None:
    sound = image(TREE)
    document = json.loads(b"".join(sound.manifest.chunks())) | change

    (found,) = problems(found_with(sound, canonical(document)))

    assert found.startswith("what was offered is no image")


def test_a_layer_of_an_unknown_type_is_explained() -> None:
    sound = layer(TREE)
    zstd = replace(sound.blob.descriptor, media_type="application/vnd.oci.image.layer.v1.tar+zstd")

    found = problems(image(replace(sound, blob=replace(sound.blob, descriptor=zstd))))

    assert all("tar+zstd" in line for line in found)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400), st.integers(0, 2000), st.integers(0, 255))
def test_no_layer_gets_through_that_was_changed(noise: bytes, at: int, value: int) -> None:
    packed = bytearray(gzip.compress(archive((info("a"), noise)), mtime=0))
    sound = layer(archive((info("a"), noise)), bytes(packed))
    at %= len(packed)
    changed = packed[at] != value
    packed[at] = value

    found = problems(image(replace(sound, blob=replace(sound.blob, chunks=lambda: iter((bytes(packed),))))))

    assert bool(found) == changed
