"""What is a reference to an image, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotdesk.errors import UsageError
from hotdesk.oci.registry.reference import Reference, parse_reference

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("registry.example/desk", Reference("registry.example", "desk", "latest")),
        ("registry.example/a/b/c:1.2", Reference("registry.example", "a/b/c", "1.2")),
        ("registry.example:5000/desk:v1", Reference("registry.example:5000", "desk", "v1")),
        ("localhost/desk", Reference("localhost", "desk", "latest")),
        ("localhost:5000/desk", Reference("localhost:5000", "desk", "latest")),
        ("[::1]:5000/desk:1", Reference("[::1]:5000", "desk", "1")),
        (f"registry.example/desk@{DIGEST}", Reference("registry.example", "desk", "", DIGEST)),
        (f"registry.example/desk:1@{DIGEST}", Reference("registry.example", "desk", "1", DIGEST)),
        ("registry.example/a--b/c__d/e.f", Reference("registry.example", "a--b/c__d/e.f", "latest")),
    ],
)
def test_references(text: str, found: Reference) -> None:
    assert parse_reference(text) == found
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("desk", "it names no registry"),
        ("team/desk:1", "it names no registry"),
        ("https://registry.example/desk", "begins with a scheme"),
        ("registry.example/Desk", "`Desk` is no repository"),
        ("registry.example/desk:", "`` is no tag"),
        ("registry.example/desk:a/b", "`a/b` is no tag"),
        ("registry.example/desk:" + "x" * 129, "is no tag"),
        ("registry.example/../desk", "`../desk` is no repository"),
        ("registry.example/a//b", "is no repository"),
        ("registry.example/", "`` is no repository"),
        ("registry.example/desk@sha256:abc", "is no digest"),
        ("registry.example/desk@sha512:" + "0" * 128, "is no digest"),
        ("registry.example:99999/desk", "is no host"),
        ("registry..example/desk", "is no host"),
        ("user@registry.example/desk", "is no digest"),
        ("[::g]/desk", "is no host"),
        ("registry.example/desk?x", "is no repository"),
        ("registry.example/desk#x", "is no repository"),
        ("registry.example/desk\n", "is no repository"),
        ("registry.example/" + "a/" * 130 + "a", "more than 255 characters"),
    ],
)
def test_what_is_none(text: str, why: str) -> None:
    with pytest.raises(UsageError, match="is no reference to an image") as caught:
        parse_reference(text)

    assert why in caught.value.why
    assert caught.value.hint


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost:1", True),
        ("127.0.0.1", True),
        ("127.9.9.9:5000", True),
        ("[::1]:5000", True),
        ("registry.example", False),
        ("localhost.example", False),
        ("10.0.0.1:5000", False),
        ("[2001:db8::1]", False),
        ("127.0.0.1.example", False),
    ],
)
def test_what_is_on_this_machine(host: str, here: bool) -> None:
    assert parse_reference(f"{host}/desk").is_loopback is here


@given(st.text(alphabet="aA0:/@.-_[]~%? \n\0é", max_size=40))
def test_any_text_is_a_reference_that_is_written_as_it_was_or_is_refused(text: str) -> None:
    try:
        found = parse_reference(text)
    except UsageError:
        return
    assert str(found) in (text, f"{text}:latest")
    assert not set(str(found)) & set("?# \n\0%")
