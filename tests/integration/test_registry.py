"""Push and pull against a real registry: plain, with logins, with certificates, with hostile content."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.images import image, layer, noise, small_image
from tests.support.network import home
from tests.support.registry import (
    DockerRegistry,
    certificates,
    docker_registry,
    reference,
    registry,
    require,
)
from tests.support.stores import other, store
from tests.support.token_server import TokenServer, token_server

from hotdesk.errors import RegistryError, UnsafeImageError, UsageError
from hotdesk.indexes.http import Retry
from hotdesk.oci.model import LAYER, Blob, Descriptor, Image, Layer, canonical, digest_of, image_of
from hotdesk.oci.pulled import PulledImage, bare, pulled_image, recall_reference
from hotdesk.oci.registry.pull import noted_as, pull
from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import Reference, parse_reference
from hotdesk.oci.registry.session import Patience
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["home", "other", "reference", "registry", "store"]

pytestmark = pytest.mark.integration

QUICK = Patience(connect=3, silence=5, commit=5, retry=Retry(tries=3, first=0.01, longest=2))
AMD, ARM = "linux/amd64", "linux/arm64"


@pytest.fixture(autouse=True)
def _on_its_own(home: Path) -> None:
    """No test sees the caller's logins and proxies."""


def content(image: Image) -> list[bytes]:
    """All there is to an image."""
    blobs = [*image.blobs(), image.manifest]
    archives = [b"".join(layer.tar_chunks()) for layer in image.layers]
    return [*(b"".join(blob.chunks()) for blob in blobs), *archives]


def docker_login(folder: Path, host: str, user: str, password: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}))


# What is moved


def test_what_one_store_pushes_another_pulls(store: Store, other: Store, reference: Reference) -> None:
    pushed_image = small_image()

    pushed = push(store, [pushed_image], reference)
    pulled = pull(other, reference, AMD)

    got = pulled_image(other, pulled.digest)
    assert pushed.digest == pulled.digest == pushed_image.manifest.descriptor.digest
    assert (got.id, content(got)) == (pushed_image.id, content(pushed_image))
    assert [layer.tar_size for layer in got.layers] == [layer.tar_size for layer in pushed_image.layers]
    assert (pushed.sent, pulled.fetched) == (4, 3)
    assert recall_reference(other, noted_as(reference, AMD)) == pulled.digest


def test_what_is_there_is_not_sent_again(store: Store, reference: Reference) -> None:
    push(store, [small_image()], reference)

    again = push(store, [small_image()], reference)
    changed = push(store, [small_image(seed=7)], reference)

    assert (again.there, again.sent, again.size) == (4, 0, 0)
    assert (changed.there, changed.sent) == (1, 3)


def test_what_another_repository_has_is_mounted(store: Store, reference: Reference) -> None:
    push(store, [small_image()], reference)

    moved = push(store, [small_image()], replace(reference, repository=f"{reference.repository}/copy"))

    assert (moved.mounted, moved.sent) == (3, 1)


def test_what_was_pulled_is_mounted_when_it_is_pushed(
    store: Store, other: Store, reference: Reference
) -> None:
    push(store, [small_image()], reference)
    got = pulled_image(other, pull(other, reference, AMD).digest)

    moved = push(other, [got], replace(reference, repository=f"{reference.repository}/copy"))

    assert (moved.mounted, moved.sent, moved.digest) == (3, 1, got.manifest.descriptor.digest)


def test_a_second_pull_fetches_what_is_new(store: Store, other: Store, reference: Reference) -> None:
    push(store, [small_image()], reference)
    pull(other, reference, AMD)

    again = pull(other, reference, AMD)
    push(store, [small_image(seed=7)], reference)
    changed = pull(other, reference, AMD)

    assert (again.there, again.fetched, again.size) == (3, 0, 0)
    assert (changed.there, changed.fetched) == (1, 2)


def test_a_digest_stays_what_it_was_when_its_tag_moves(
    store: Store, other: Store, reference: Reference
) -> None:
    first = push(store, [small_image()], reference)
    push(store, [small_image(seed=7)], reference)

    pulled = pull(other, replace(reference, tag="", digest=first.digest), AMD)

    assert pulled.digest == first.digest


def test_locations_without_a_host_are_followed(tmp_path: Path, store: Store, other: Store) -> None:
    with docker_registry(tmp_path / "registry", relative=True) as started:
        reference = parse_reference(f"{started.host}/desk")
        push(store, [small_image()], reference)

        assert pull(other, reference, AMD).fetched == 3


def test_nothing_at_the_tag(store: Store, reference: Reference) -> None:
    with pytest.raises(RegistryError, match="there is no image") as caught:
        pull(store, reference, AMD)

    assert "check the repository and the tag" in caught.value.hint


def test_a_push_to_a_digest_is_refused(store: Store, reference: Reference) -> None:
    with pytest.raises(UsageError, match="by its digest"):
        push(store, [small_image()], reference.at("sha256:" + "0" * 64))


def test_a_layer_that_changed_since_it_was_measured_never_arrives(store: Store, reference: Reference) -> None:
    good = small_image()
    changed = good.layers[1]
    liar = replace(
        changed, blob=Blob(changed.blob.descriptor, lambda: iter([noise(changed.blob.descriptor.size)]))
    )

    with pytest.raises(Exception, match="cannot be made again as it was"):
        push(store, [replace(good, layers=(good.layers[0], liar, good.layers[2]))], reference)

    assert push(store, [good], reference).sent > 0


# Platforms


def test_an_image_for_another_platform_joins(store: Store, other: Store, reference: Reference) -> None:
    amd, arm = small_image(), small_image(platform=ARM)
    push(store, [amd], reference)

    joined = push(store, [arm], reference, join=True)

    assert pull(other, reference, AMD).digest == amd.manifest.descriptor.digest
    assert pull(other, reference, ARM).digest == arm.manifest.descriptor.digest
    assert joined.digest not in (amd.manifest.descriptor.digest, arm.manifest.descriptor.digest)


def test_who_joins_takes_the_place_of_its_own_platform(
    store: Store, other: Store, reference: Reference
) -> None:
    both = [small_image(), small_image(platform=ARM)]
    push(store, both, reference)
    newer = small_image(seed=7)

    push(store, [newer], reference, join=True)

    assert pull(other, reference, AMD).digest == newer.manifest.descriptor.digest
    assert pull(other, reference, ARM).digest == both[1].manifest.descriptor.digest


def test_the_first_to_join_makes_an_index_of_one(store: Store, other: Store, reference: Reference) -> None:
    joined = push(store, [small_image()], reference, join=True)

    assert joined.digest != small_image().manifest.descriptor.digest
    assert pull(other, reference, AMD).digest == small_image().manifest.descriptor.digest


@pytest.mark.parametrize("join", [False, True])
def test_a_platform_that_is_not_offered(store: Store, other: Store, reference: Reference, join: bool) -> None:
    push(store, [small_image()], reference, join=join)

    with pytest.raises(RegistryError, match="is not for linux/arm64") as caught:
        pull(other, reference, ARM)

    assert caught.value.why == "it is for linux/amd64"


# Other tools


def test_skopeo_accepts_what_was_pushed(store: Store, reference: Reference, tmp_path: Path) -> None:
    require("skopeo")
    pushed = push(store, [small_image()], reference)

    seen = skopeo("inspect", "--tls-verify=false", f"docker://{reference}")
    skopeo("copy", "--src-tls-verify=false", f"docker://{reference}", f"oci:{tmp_path / 'layout'}:1")

    layers = [blob.descriptor.digest for blob in small_image().blobs()[:-1]]
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    assert (json.loads(seen)["Digest"], json.loads(seen)["Layers"]) == (pushed.digest, layers)
    assert index["manifests"][0]["digest"] == pushed.digest


def test_an_image_in_dockers_own_format_is_pulled(store: Store, other: Store, reference: Reference) -> None:
    require("skopeo")
    push(store, [small_image()], reference)
    converted = replace(reference, tag="docker")
    loopback = ("--src-tls-verify=false", "--dest-tls-verify=false")
    skopeo("copy", "--format=v2s2", *loopback, f"docker://{reference}", f"docker://{converted}")

    got = pulled_image(other, pull(other, converted, AMD).digest)

    kinds = {layer.blob.descriptor.media_type for layer in got.layers}
    assert kinds == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}
    assert [layer.diff_id for layer in got.layers] == [layer.diff_id for layer in small_image().layers]
    assert push(other, [got], replace(reference, tag="again")).digest == got.manifest.descriptor.digest


def skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Logins


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("private"), login=("ada", "pa:ss wörd")) as started:
        yield started


def test_without_a_login_the_error_says_how_to_get_one(store: Store, private: DockerRegistry) -> None:
    with pytest.raises(RegistryError) as caught:
        push(store, [small_image()], parse_reference(f"{private.host}/desk"), patience=QUICK)

    assert f"no login for {private.host} is stored" in caught.value.why
    assert f"docker login {private.host}" in caught.value.hint


def test_a_wrong_password_is_told_with_its_file_and_without_the_password(
    store: Store, private: DockerRegistry, home: Path
) -> None:
    docker_login(home / ".docker", private.host, "ada", "secret guess")

    with pytest.raises(RegistryError) as caught:
        push(store, [small_image()], parse_reference(f"{private.host}/desk"), patience=QUICK)

    assert "the login of `ada` from" in caught.value.why
    assert ".docker/config.json" in caught.value.why
    assert "guess" not in str(caught.value)


def test_dockers_and_podmans_logins_are_used(
    store: Store, private: DockerRegistry, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"auth": base64.b64encode("ada:pa:ss wörd".encode()).decode()}
    content = json.dumps({"auths": {private.host: entry}})
    config, runtime = tmp_path / "config", tmp_path / "runtime"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    for place in (
        home / ".docker/config.json",
        config / "containers/auth.json",
        runtime / "containers/auth.json",
    ):
        place.parent.mkdir(parents=True)
        place.write_text(content)
        push(store, [small_image()], parse_reference(f"{private.host}/desk"), patience=QUICK)
        place.unlink()
    named = tmp_path / "named.json"
    named.write_text(content)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(named))
    push(store, [small_image()], parse_reference(f"{private.host}/desk"), patience=QUICK)


def test_a_helper_is_asked_before_what_is_stored(
    store: Store, private: DockerRegistry, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker_login(home / ".docker", private.host, "ada", "an old password")
    config = json.loads((home / ".docker/config.json").read_text()) | {"credHelpers": {private.host: "tests"}}
    (home / ".docker/config.json").write_text(json.dumps(config))
    helper = tmp_path / "bin" / "docker-credential-tests"
    helper.parent.mkdir()
    helper.write_text(
        f"#!/bin/sh\nhost=$(cat) && test \"$1 $host\" = 'get {private.host}' && "
        """printf '{"Username": "ada", "Secret": "pa:ss wörd"}'\n"""
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")

    pushed = push(store, [small_image()], parse_reference(f"{private.host}/helped"), patience=QUICK)

    assert pushed.sent == 4


# Tokens


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(tmp_path / "tokens") as started:
        started.logins["ada"] = "lovelace"
        yield started


@pytest.fixture
def guarded(tmp_path: Path, tokens: TokenServer) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path / "guarded", tokens=tokens) as started:
        yield started


def test_tokens_are_fetched_for_what_is_done_and_no_oftener_than_needed(
    store: Store, other: Store, guarded: DockerRegistry, tokens: TokenServer, home: Path
) -> None:
    reference = parse_reference(f"{guarded.host}/public/desk:1")
    docker_login(home / ".docker", guarded.host, "ada", "lovelace")
    push(store, [small_image()], reference, patience=QUICK)
    (home / ".docker/config.json").unlink()

    pull(other, reference, AMD, patience=QUICK)

    pushing, pulling = "repository:public/desk:pull,push", "repository:public/desk:pull"
    assert [who for who, _ in tokens.asked] == ["ada", ""]
    assert pushing in tokens.asked[0][1]
    assert pulling in tokens.asked[1][1]


def test_who_may_only_pull_is_told_when_pushing(
    store: Store, guarded: DockerRegistry, tokens: TokenServer
) -> None:
    with pytest.raises(RegistryError) as caught:
        push(store, [small_image()], parse_reference(f"{guarded.host}/public/desk:1"), patience=QUICK)

    assert "docker login" in caught.value.hint


def test_an_expired_token_is_renewed(
    store: Store, guarded: DockerRegistry, tokens: TokenServer, home: Path
) -> None:
    docker_login(home / ".docker", guarded.host, "ada", "lovelace")
    tokens.expired = 1

    push(store, [small_image()], parse_reference(f"{guarded.host}/mine:1"), patience=QUICK)

    assert len(tokens.asked) == 2


def test_tokens_that_are_never_good_are_given_up(
    store: Store, guarded: DockerRegistry, tokens: TokenServer, home: Path
) -> None:
    docker_login(home / ".docker", guarded.host, "ada", "lovelace")
    tokens.expired = 1000

    with pytest.raises(RegistryError, match="cannot be pushed"):
        push(store, [small_image()], parse_reference(f"{guarded.host}/mine:1"), patience=QUICK)

    assert len(tokens.asked) < 20


def test_an_identity_token_is_exchanged(
    store: Store, guarded: DockerRegistry, tokens: TokenServer, home: Path
) -> None:
    tokens.identity_tokens.add("long lived")
    (home / ".docker").mkdir(parents=True)
    entry = {"auth": base64.b64encode(b"00000000:").decode(), "identitytoken": "long lived"}
    (home / ".docker/config.json").write_text(json.dumps({"auths": {guarded.host: entry}}))

    push(store, [small_image()], parse_reference(f"{guarded.host}/mine:1"), patience=QUICK)

    assert {who for who, _ in tokens.asked} == {"token of hotdesk"}


def test_mounting_asks_for_both_repositories(
    store: Store, guarded: DockerRegistry, tokens: TokenServer, home: Path
) -> None:
    docker_login(home / ".docker", guarded.host, "ada", "lovelace")
    push(store, [small_image()], parse_reference(f"{guarded.host}/mine:1"), patience=QUICK)

    moved = push(store, [small_image()], parse_reference(f"{guarded.host}/yours:1"), patience=QUICK)

    assert moved.mounted == 3
    assert "repository:mine:pull" in tokens.asked[-1][1]


# Certificates


def test_a_private_authority_is_trusted_where_it_is_put(
    store: Store, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificates(tmp_path / "certificates")
    with docker_registry(tmp_path / "registry", tls=made) as started:
        reference = parse_reference(f"{started.host}/desk:1")
        with pytest.raises(RegistryError, match="cannot be pushed") as caught:
            push(store, [small_image()], reference, patience=QUICK)
        assert "not trusted" in caught.value.why
        assert f"certs.d/{started.host}/ca.crt" in caught.value.hint

        place = home / ".docker" / "certs.d" / started.host
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes(made.authority.read_bytes())
        assert push(store, [small_image()], reference, patience=QUICK).sent == 4

        (place / "ca.crt").unlink()
        monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
        assert push(store, [small_image()], reference, patience=QUICK).there == 4


# What hostile registries and images do


def of_manifest(image: Image, change: dict[str, object]) -> PulledImage:
    """The image with another manifest."""
    document = json.loads(b"".join(image.manifest.chunks())) | change
    return PulledImage(
        image.platform,
        image.config,
        image.layers,
        canonical(document),
        str(document["mediaType"]),
        image.config_blob.descriptor.media_type,
    )


def blob_layer(content: bytes, diff_id: str, media_type: str = LAYER) -> Layer:
    blob = Blob.of(content, media_type)
    return Layer(blob, diff_id, 0, lambda: iter(()), "")


def refused(store: Store, other: Store, reference: Reference, hostile: Image) -> str:
    """Why the image is refused; nothing of it is offered afterwards."""
    push(store, [hostile], reference, patience=QUICK)
    with pytest.raises(UnsafeImageError) as caught:
        pull(other, reference, AMD, patience=QUICK)
    assert not list((other.root / "items").glob("pulled/*"))
    assert recall_reference(other, noted_as(reference, AMD)) == ""
    return str(caught.value)


def test_a_layer_that_holds_something_else_than_the_configuration_says(
    store: Store, other: Store, reference: Reference
) -> None:
    good = layer("usr/share/good", b"good")
    evil = replace(layer("usr/share/evil", b"evil"), diff_id=good.diff_id)

    assert "another diff ID" in refused(store, other, reference, image(evil))


def test_a_layer_that_was_good_in_another_image(store: Store, other: Store, reference: Reference) -> None:
    good = layer("usr/share/good", b"good")
    push(store, [image(good)], reference)
    pull(other, reference, AMD)
    push(store, [image(replace(good, diff_id=digest_of(b"")))], reference)

    with pytest.raises(UnsafeImageError, match="holds something else than the image says"):
        pull(other, reference, AMD)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../escape", tarfile.REGTYPE),
        ("/etc/absolute", tarfile.REGTYPE),
        ("dev/sda", tarfile.BLKTYPE),
        ("dev/mem", tarfile.CHRTYPE),
        ("etc/hard", tarfile.LNKTYPE),
        ("link/through", tarfile.REGTYPE),
    ],
)
def test_what_no_layer_may_hold(
    store: Store, other: Store, reference: Reference, name: str, kind: bytes
) -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        link, member = tarfile.TarInfo("link"), tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        member.type, member.linkname = kind, "../../etc/shadow"
        tar.addfile(link)
        tar.addfile(member)
    archive = held.getvalue()

    said = refused(store, other, reference, image(blob_layer(gzip.compress(archive), digest_of(archive))))

    assert "is no layer that hotdesk takes" in said


def test_a_bomb_is_not_unpacked_to_its_end(store: Store, other: Store, reference: Reference) -> None:
    member = tarfile.TarInfo("zeros")
    member.size = 1 << 40
    zeros = gzip.compress(bytes(1 << 24), 9)
    bomb = gzip.compress(member.tobuf(tarfile.GNU_FORMAT)) + zeros * 70  # 1.2 GB out of 1.1 MB

    said = refused(store, other, reference, image(blob_layer(bomb, digest_of(b""))))

    assert "inflates without measure" in said


@pytest.mark.parametrize("cut", [0, 5])
def test_what_calls_itself_gzip_and_is_not_or_ends_early(
    store: Store, other: Store, reference: Reference, cut: int
) -> None:
    content = b"".join(layer("usr/share/file", noise(1000)).blob.chunks())[:-cut] or b"no gzip"

    said = refused(store, other, reference, image(blob_layer(content, digest_of(b""))))

    assert "its gzip stream" in said


def test_other_compression_is_refused_by_name(store: Store, other: Store, reference: Reference) -> None:
    kind = LAYER.replace("gzip", "zstd")

    assert "tar+zstd" in refused(store, other, reference, image(blob_layer(b"x", digest_of(b""), kind)))


def test_a_configuration_of_fewer_layers(store: Store, other: Store, reference: Reference) -> None:
    good = small_image()
    short = image_of(AMD, {}, good.layers[:1])

    said = refused(store, other, reference, replace(good, config=short.config))

    assert "tells of 1 layers, and its manifest of 3" in said


def test_bytes_that_the_registry_changed_on_its_disk(
    store: Store, other: Store, reference: Reference, registry: DockerRegistry
) -> None:
    good = image(layer("usr/share/changed", noise(5000, seed=99)))
    push(store, [good], reference)
    sha256 = bare(good.layers[0].blob.descriptor.digest)
    data = registry.folder / "data/docker/registry/v2/blobs/sha256" / sha256[:2] / sha256 / "data"
    content = bytearray(data.read_bytes())
    content[2500] ^= 1
    data.write_bytes(content)

    with pytest.raises(UnsafeImageError, match="cannot be pulled") as caught:
        pull(other, reference, AMD, patience=QUICK)

    assert "something else than it has a digest for" in caught.value.why
    assert list((other.root / "blobs").iterdir()) == []


def test_a_size_that_is_not_the_blobs(store: Store, other: Store, reference: Reference) -> None:
    good = small_image()
    rows = [layer.blob.descriptor.to_json() for layer in good.layers]
    rows[0]["size"] += 1

    said = refused(store, other, reference, of_manifest(good, {"layers": rows}))

    assert "bytes" in said


def test_an_absurd_number_of_layers(store: Store, other: Store, reference: Reference) -> None:
    good = small_image()
    rows = [good.layers[0].blob.descriptor.to_json()] * 200

    assert "more than 127" in refused(store, other, reference, of_manifest(good, {"layers": rows}))


def test_a_huge_claim_takes_no_room(store: Store, other: Store, reference: Reference) -> None:
    good = small_image()
    row = Descriptor(LAYER, good.layers[0].blob.descriptor.digest, 1 << 60).to_json()

    assert "bytes; from 0 to" in refused(store, other, reference, of_manifest(good, {"layers": [row]}))
