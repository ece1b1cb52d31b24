"""Who gets a login, where redirects may lead, and how long answers may be."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from tests.support.images import small_image
from tests.support.small_registry import Handler, SmallRegistry, endless, offer, small_registry

from hotdesk.errors import RegistryError, StoreError, UnsafeImageError
from hotdesk.oci.model import INDEX, MANIFEST, digest_of, image_of
from hotdesk.oci.registry.auth import Challenge, is_safe, parse_challenges
from hotdesk.oci.registry.pull import pull
from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import parse_reference
from hotdesk.oci.registry.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from hotdesk.oci.registry.reference import Reference
    from hotdesk.oci.registry.session import Patience
    from hotdesk.store import Store

AMD = "linux/amd64"


def at(registry: SmallRegistry) -> Reference:
    return parse_reference(f"{registry.host}/desk:1")


def log_in(home: Path, registry: SmallRegistry) -> None:
    entry = {"auth": base64.b64encode(b"ada:secret").decode()}
    (home / ".docker").mkdir(parents=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": {registry.host: entry}}))
    registry.wants = f"Basic {entry['auth']}"
    registry.challenge = 'Basic realm="desk"'


def test_a_redirect_to_another_host_carries_no_login(
    registry: SmallRegistry, store: Store, home: Path, patience: Patience
) -> None:
    log_in(home, registry)
    push(store, [small_image()], at(registry), patience=patience)
    with small_registry() as storage:
        storage.blobs = registry.blobs
        registry.elsewhere = f"http://{storage.host}/v2/desk/blobs"

        pulled = pull(store, at(registry), AMD, patience=patience)

    assert pulled.fetched == 3
    assert len(storage.of("GET")) == 4
    assert all("Authorization" not in request.headers for request in storage.requests)


@pytest.mark.parametrize(
    "where", ["http://storage.example/blobs", "file:///etc/passwd", "ftp://storage.example"]
)
def test_no_redirect_leads_to_plain_http_or_to_a_file(
    registry: SmallRegistry, store: Store, patience: Patience, where: str
) -> None:
    push(store, [small_image()], at(registry), patience=patience)
    registry.elsewhere = where

    with pytest.raises(RegistryError) as caught:
        pull(store, at(registry), AMD, patience=patience)

    assert "follows to HTTPS alone" in str(caught.value)


def test_redirects_without_end(registry: SmallRegistry, store: Store, patience: Patience) -> None:
    push(store, [small_image()], at(registry), patience=patience)
    registry.elsewhere = f"http://{registry.host}/v2/desk/blobs"

    with pytest.raises(RegistryError, match="cannot be had"):
        pull(store, at(registry), AMD, patience=patience)


def test_a_location_of_plain_http_on_the_registry_itself_is_taken_for_https(patience: Patience) -> None:
    session = Session(parse_reference("registry.example/desk"), "pull", patience=patience)

    found = session.target("https://registry.example/v2/x", "http://registry.example:443/v2/up?a=b%2F")

    assert found == "https://registry.example:443/v2/up?a=b%2F"


def test_a_login_that_is_not_wanted_any_more_is_given_up(
    registry: SmallRegistry, store: Store, home: Path, patience: Patience
) -> None:
    log_in(home, registry)
    registry.wants = "never"

    with pytest.raises(RegistryError, match="cannot be pushed") as caught:
        push(store, [small_image()], at(registry), patience=patience)

    assert "the login of `ada`" in caught.value.why
    assert len(registry.requests) < 40


@pytest.mark.parametrize(
    "realm",
    [
        "http://tokens.example/token",
        "file:///etc/passwd",
        "",
        "//tokens.example",
        "http://127.0.0.1.example/",
    ],
)
def test_a_login_is_sent_to_no_plain_address(
    registry: SmallRegistry, store: Store, home: Path, patience: Patience, realm: str
) -> None:
    log_in(home, registry)
    registry.challenge = f'Bearer realm="{realm}",service="x"'

    with pytest.raises(RegistryError, match="wants tokens to be fetched from"):
        push(store, [small_image()], at(registry), patience=patience)


def test_an_answer_without_end_is_not_read_to_its_end(
    registry: SmallRegistry, store: Store, patience: Patience
) -> None:
    registry.turns.append(("GET .*/manifests/", endless))

    with pytest.raises(RegistryError, match="is longer than"):
        pull(store, at(registry), AMD, patience=patience)


def test_a_refusal_without_end_is_not_read_to_its_end(
    registry: SmallRegistry, store: Store, patience: Patience
) -> None:
    registry.turns.append(("GET .*/manifests/", lambda handler: endless(handler, 418)))

    with pytest.raises(RegistryError, match="cannot be pulled") as caught:
        pull(store, at(registry), AMD, patience=patience)

    assert "answers 418" in caught.value.why


def test_a_token_without_end(registry: SmallRegistry, store: Store, patience: Patience) -> None:
    registry.wants = "never"
    registry.challenge = f'Bearer realm="http://{registry.host}/token"'
    registry.turns.append(("/token", endless))

    with pytest.raises(RegistryError, match="is longer than"):
        pull(store, at(registry), AMD, patience=patience)


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": ""}', b'{"token": "a\\r\\nX: b"}', b"[" * 9999]
)
def test_what_is_no_token(registry: SmallRegistry, store: Store, patience: Patience, answer: bytes) -> None:
    def turn(handler: Handler) -> None:
        handler.send(200, answer)

    registry.wants = "never"
    registry.challenge = f'Bearer realm="http://{registry.host}/token"'
    registry.turns.append(("/token", turn))

    with pytest.raises(RegistryError, match="gives no token"):
        pull(store, at(registry), AMD, patience=patience)


def test_a_registry_that_changes_what_is_pushed(
    registry: SmallRegistry, store: Store, patience: Patience
) -> None:
    def turn(handler: Handler) -> None:
        handler.body(bytearray())
        handler.send(201, Docker_Content_Digest="sha256:" + "0" * 64)

    registry.turns.append(("PUT .*/manifests/", turn))

    with pytest.raises(RegistryError, match="changed what was pushed"):
        push(store, [small_image()], at(registry), patience=patience)


def test_a_layer_that_the_registry_has_lost(
    registry: SmallRegistry, store: Store, patience: Patience
) -> None:
    push(store, [small_image()], at(registry), patience=patience)
    del registry.blobs[small_image().layers[1].blob.descriptor.digest]

    with pytest.raises(UnsafeImageError) as caught:
        pull(store, at(registry), AMD, patience=patience)

    assert "has not all the layers" in caught.value.why


def test_what_cannot_fit_on_the_disk_is_not_begun(
    registry: SmallRegistry, store: Store, patience: Patience
) -> None:
    push(store, [small_image()], at(registry), patience=patience)
    manifest = json.loads(registry.manifests["1"][1])
    manifest["layers"] = [
        manifest["layers"][0] | {"digest": digest_of(b"%d" % number), "size": 60 << 30}
        for number in range(100)
    ]
    config = image_of(AMD, {}, [small_image().layers[0]] * 100).config
    registry.blobs[digest_of(config)] = config
    manifest["config"] |= {"digest": digest_of(config), "size": len(config)}
    offer(registry, manifest, MANIFEST)
    asked = len(registry.requests)

    with pytest.raises(StoreError, match="there is no room"):
        pull(store, at(registry), AMD, patience=patience)

    assert len(registry.requests) - asked <= 4


def test_an_index_that_leads_to_itself(registry: SmallRegistry, store: Store, patience: Patience) -> None:
    push(store, [small_image()], at(registry), join=True, patience=patience)
    entry = json.loads(registry.manifests["1"][1])["manifests"][0]
    inner = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    registry.manifests[digest_of(inner)] = (INDEX, inner)
    outer = {"schemaVersion": 2, "manifests": [entry | {"digest": digest_of(inner), "size": len(inner)}]}
    offer(registry, outer, INDEX)

    with pytest.raises(UnsafeImageError, match="is no image"):
        pull(store, at(registry), AMD, patience=patience)


def test_a_manifest_that_calls_itself_something_else(
    registry: SmallRegistry, store: Store, patience: Patience
) -> None:
    offer(registry, {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}, MANIFEST)

    with pytest.raises(UnsafeImageError) as caught:
        pull(store, at(registry), AMD, patience=patience)

    assert "calls itself" in caught.value.why


def test_a_manifest_that_is_not_the_one_asked_for(
    registry: SmallRegistry, store: Store, patience: Patience
) -> None:
    pushed = push(store, [small_image()], at(registry), patience=patience)
    registry.manifests[pushed.digest] = (MANIFEST, b'{"schemaVersion": 2}')

    with pytest.raises(UnsafeImageError, match="something else than"):
        pull(store, at(registry).at(pushed.digest), AMD, patience=patience)


def test_only_this_machine_is_spoken_to_in_plain(patience: Patience) -> None:
    assert not is_safe("http://registry.example/", loopback=False)
    assert not is_safe("http://registry.example/", loopback=True)
    assert not is_safe("http://127.0.0.1/", loopback=False)
    assert is_safe("http://127.0.0.1:5000/", loopback=True)
    assert is_safe("http://[::1]:5000/", loopback=True)
    assert is_safe("https://registry.example/", loopback=False)


_REALM = "https://t.example/x?a=1,b=2"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Basic realm="a"', [("basic", {"realm": "a"})]),
        ("BASIC", [("basic", {})]),
        (
            f'Bearer realm="{_REALM}",service="s p",scope="repository:a:pull,push"',
            [("bearer", {"realm": _REALM, "service": "s p", "scope": "repository:a:pull,push"})],
        ),
        (
            'Basic realm="a, Bearer b", Bearer realm="c"',
            [("basic", {"realm": "a, Bearer b"}), ("bearer", {"realm": "c"})],
        ),
        ('Bearer Realm = "a\\"b" , service=x', [("bearer", {"realm": 'a"b', "service": "x"})]),
        ('Digest realm="a"', []),
        ('Negotiate, Basic realm="a"', [("basic", {"realm": "a"})]),
        ("", []),
        ('Bearer realm="unended', [("bearer", {})]),
    ],
)
def test_challenges(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges([header]) == [Challenge(scheme, values) for scheme, values in found]
