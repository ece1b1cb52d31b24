from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.support.environments import make_environment

from hotdesk.build.root import open_root
from hotdesk.errors import NotCachedError
from hotdesk.keys import Keys
from hotdesk.lock import Artifact, DebianPackage, LockedVariant
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DEB = Artifact("debian", "debian", "pool/main/b/base/base_1_all.deb", 100, "0" * 64)
LOCKED = LockedVariant(
    variant="default",
    platform="linux/amd64",
    python="3.13",
    base="debian:trixie",
    snapshot="20260101T000000Z",
    debian=(DebianPackage("base", "1", "all", DEB, ("default",)),),
    pypi=(),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With the root of LOCKED in it, and not what that was made of."""
    store = Store(tmp_path / "store")
    store.make("system", Keys.of(LOCKED).system, lambda item: (item / "tree").mkdir())
    make_environment(store, [], LOCKED.python)
    return store


def test_a_root_that_is_there_is_taken(store: Store) -> None:
    with open_root(store, LOCKED, offline=True) as root:
        assert root.system.is_dir()
        assert root.environment.is_dir()


def test_a_root_that_is_open_cannot_be_removed(store: Store) -> None:
    key = Keys.of(LOCKED).system

    with open_root(store, LOCKED, offline=True):
        assert not store.remove("system", key)

    assert store.remove("system", key)


def test_a_root_that_may_have_lost_files_with_the_power_is_made_again(store: Store) -> None:
    for mark in (store.root / "unsettled").iterdir():
        mark.rename(mark.with_name(f"another-boot.{mark.name.partition('.')[2]}"))

    with pytest.raises(NotCachedError), open_root(store, LOCKED, offline=True):
        pass  # nothing is here to make it of

    assert not store.item("system", Keys.of(LOCKED).system).exists()
