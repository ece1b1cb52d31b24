"""push and pull as a user meets them; what registries do to them is in tests/integration/test_registry.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.images import small_image
from tests.support.small_registry import SmallRegistry, registry

from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import parse_reference
from hotdesk.project import host_platform
from hotdesk.store import Store

if TYPE_CHECKING:
    from tests.support.commandline import Hotdesk

__all__ = ["registry"]

DIGEST = small_image(platform=host_platform()).manifest.descriptor.digest


@pytest.fixture
def reference(registry: SmallRegistry, hotdesk: Hotdesk) -> str:
    """Of an image that is there."""
    text = f"{registry.host}/desk:1"
    image = small_image(platform=host_platform())
    push(Store(hotdesk.folder / "another store"), [image], parse_reference(text))
    return text


def test_pull_says_what_came(hotdesk: Hotdesk, reference: str) -> None:
    done = hotdesk.try_("pull", reference)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{reference.removesuffix(':1')}@{DIGEST}"
    assert "fetched in 3 layers, 0 were there" in done.stdout
    assert "pulling…" in done.stderr


def test_pull_for_programs(hotdesk: Hotdesk, reference: str) -> None:
    first, second = hotdesk.json("pull", reference), hotdesk.json("pull", reference)

    assert first == {
        "reference": reference,
        "digest": DIGEST,
        "platform": host_platform(),
        "layers": {"there": 0, "fetched": 3},
        "bytes": first["bytes"],
    }
    assert first["bytes"] > 300_000
    assert second["layers"] == {"there": 3, "fetched": 0}
    assert second["bytes"] == 0


def test_pull_for_another_platform(hotdesk: Hotdesk, reference: str) -> None:
    done = hotdesk.try_("pull", reference, "--platform", "linux/s390x")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:] == [
        f"error: `{reference}` is not for linux/s390x",
        f"  why: it is for {host_platform()}",
        " hint: choose one of these with --platform",
    ]


@pytest.mark.parametrize("command", ["push", "pull"])
def test_what_is_no_reference(hotdesk: Hotdesk, command: str) -> None:
    done = hotdesk.try_(command, "team/desk")

    assert done.returncode == 2
    assert "it names no registry, and hotdesk has no default one" in done.stderr


def test_nobody_listens(hotdesk: Hotdesk, registry: SmallRegistry) -> None:
    gone = replace(registry, host="127.0.0.1:1")

    done = hotdesk.try_("pull", f"{gone.host}/desk")

    assert done.returncode == 1
    assert "cannot be pulled" in done.stderr
    assert "refuses the connection" in done.stderr


def test_push_wants_a_project(hotdesk: Hotdesk) -> None:
    done = hotdesk.try_("push", "registry.example/desk")

    assert done.returncode == 2
    assert "there is no `hotdesk.toml`" in done.stderr
