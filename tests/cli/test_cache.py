"""cache, cache gc, cache verify, as a user meets them; what they decide is in tests/test_cache.py."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from hotdesk.layers.contents import scan_tree, write_contents
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commandline import Hotdesk


def fill(item: Path) -> None:
    (item / "tree").mkdir()
    (item / "tree" / "file").write_text("content")
    write_contents(scan_tree(item / "tree"), item)


def a_store(hotdesk: Hotdesk) -> Store:
    store = Store(hotdesk.store)
    store.make("system", "a" * 40, fill)
    content = b"x" * 10_000
    download = store.download(hashlib.sha256(content).hexdigest())
    download.parent.mkdir()
    download.write_bytes(content)
    return store


def test_an_empty_store_holds_nothing_for_nobody(hotdesk: Hotdesk) -> None:
    assert hotdesk.json("cache") == {"store": str(hotdesk.store), "bytes": 0, "kinds": [], "needed_by": []}
    assert "nobody" in hotdesk.run("cache")
    assert hotdesk.json("cache", "gc") == {"freed": 0}
    assert hotdesk.run("cache", "verify") == "everything is as it was made\n"


def test_what_the_store_holds_is_listed(hotdesk: Hotdesk) -> None:
    a_store(hotdesk)

    kinds = {kind["kind"]: kind for kind in hotdesk.json("cache")["kinds"]}

    assert kinds["downloads"]["count"] == kinds["system trees"]["count"] == 1
    assert kinds["downloads"]["bytes"] >= 10_000
    assert "system trees" in hotdesk.run("cache")


def test_what_nobody_needs_is_removed_and_the_bytes_are_told(hotdesk: Hotdesk) -> None:
    store = a_store(hotdesk)

    assert hotdesk.json("cache", "gc")["freed"] >= 10_000
    assert not list((store.root / "downloads").iterdir())
    assert not list((store.root / "items").glob("*/*"))


def test_damage_is_told_with_exit_code_1_until_it_is_repaired(hotdesk: Hotdesk) -> None:
    store = a_store(hotdesk)
    file = store.item("system", "a" * 40) / "tree" / "file"
    file.write_text("content?")

    found = hotdesk.try_("cache", "verify")
    asked = hotdesk.try_("cache", "verify", "--json")
    repaired = hotdesk.try_("cache", "verify", "--repair")

    assert (found.returncode, asked.returncode, repaired.returncode) == (1, 1, 0)
    assert f"items/system/{'a' * 40}: file is sha256:" in found.stdout
    assert "--repair" in found.stderr
    assert json.loads(asked.stdout)["problems"] == found.stdout.splitlines()
    assert not store.item("system", "a" * 40).exists()
    assert hotdesk.run("cache", "verify") == "everything is as it was made\n"


def test_a_store_that_cannot_be_written_says_what_to_do(hotdesk: Hotdesk) -> None:
    hotdesk.store.write_text("a file")

    done = hotdesk.try_("cache", "gc")

    assert done.returncode == 1
    assert "HOTDESK_STORE" in done.stderr
