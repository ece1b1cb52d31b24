"""Manifests and configurations that are no good are refused, whatever they are."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.images import small_image

from hotdesk.errors import UnsafeImageError
from hotdesk.oci.documents import Index, Manifest, parse_config, parse_document
from hotdesk.oci.model import INDEX, MANIFEST, index_of

IMAGE = small_image(size=1000)
DIGEST = IMAGE.layers[0].blob.descriptor.digest
MANIFEST_BYTES = b"".join(IMAGE.manifest.chunks())


def test_what_hotdesk_writes_is_read() -> None:
    manifest = parse_document(MANIFEST_BYTES, MANIFEST)
    index = parse_document(b"".join(index_of([IMAGE]).chunks()), INDEX)
    config = parse_config(IMAGE.config, 3)

    assert isinstance(manifest, Manifest)
    assert [layer.digest for layer in manifest.layers] == [
        layer.blob.descriptor.digest for layer in IMAGE.layers
    ]
    assert isinstance(index, Index)
    assert [entry.platform for entry in index.manifests] == ["linux/amd64"]
    assert (config.platform, config.diff_ids) == (
        "linux/amd64",
        tuple(layer.diff_id for layer in IMAGE.layers),
    )
    assert config.history == ("usr/share/base", "usr/share/mine", "usr/share/note")


def changed(**changes: Any) -> bytes:
    document = json.loads(MANIFEST_BYTES)
    for name, value in changes.items():
        if value is None:
            del document[name]
        else:
            document[name] = value
    return json.dumps(document).encode()


def row(**changes: Any) -> dict[str, Any]:
    return json.loads(MANIFEST_BYTES)["layers"][0] | changes  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        changed(schemaVersion=1),
        changed(schemaVersion=None),
        changed(mediaType=INDEX),
        changed(mediaType=7),
        changed(manifests=[]),
        changed(layers=None),
        changed(layers={}),
        changed(layers=[1]),
        changed(layers=[row()] * 128),
        changed(layers=[row(size=-1)]),
        changed(layers=[row(size=True)]),
        changed(layers=[row(size=1.5)]),
        changed(layers=[row(size=10**30)]),
        changed(layers=[row(size="1")]),
        changed(layers=[row(digest="sha256:../../etc/passwd")]),
        changed(layers=[row(digest="md5:" + "0" * 32)]),
        changed(layers=[row(digest=row()["digest"].upper())]),
        changed(layers=[row(digest=row()["digest"] + "\n")]),
        changed(layers=[row(digest=None)]),
        changed(layers=[row(mediaType="application/vnd.oci.image.layer.v1.tar+zstd")]),
        changed(layers=[row(mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")]),
        changed(config=None),
        changed(config=row(mediaType="application/vnd.example.config")),
        changed(config=row(mediaType="application/vnd.oci.image.config.v1+json", size=1 << 40)),
    ],
)
def test_what_is_no_image(content: bytes) -> None:
    with pytest.raises(UnsafeImageError):
        parse_document(content)


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"rootfs": []}',
        b'{"rootfs": {"diff_ids": ["x"]}}',
        b'{"rootfs": {"diff_ids": []}}',
        b'{"rootfs": {"diff_ids": {}}}',
    ],
)
def test_what_is_no_configuration_of_one_layer(content: bytes) -> None:
    with pytest.raises(UnsafeImageError):
        parse_config(content, 1)


def test_a_platform_that_is_no_word_is_none() -> None:
    config = json.loads(IMAGE.config) | {"os": "../..", "architecture": "x\ny"}

    assert parse_config(json.dumps(config).encode(), 3).platform == ""


_WORDS = ["mediaType", "digest", "size", "layers", "config", "manifests", "platform", "annotations", "os"]
_WORDS += ["schemaVersion", "rootfs", "diff_ids", "history"]
_VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([MANIFEST, INDEX, DIGEST])
_JSON = st.recursive(
    _VALUES,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_WORDS), inner),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(_WORDS), _JSON))
def test_any_json_is_read_or_refused(document: dict[str, object]) -> None:
    content = json.dumps({"schemaVersion": 2, "layers": [], "config": {}} | document).encode()
    with suppress(UnsafeImageError):
        parse_document(content)
    with suppress(UnsafeImageError):
        parse_config(content, 0)
