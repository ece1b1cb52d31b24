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
    assert hotdesk.json("cache") == {
        "store": str(hotdesk.store),
        "bytes": 0,
        "kinds": [],
        "needed_by": [],
        "unreadable": {},
    }
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


def test_a_damaged_desk_is_listed_with_its_cure_and_stops_the_collection(hotdesk: Hotdesk) -> None:
    store = a_store(hotdesk)
    desk = hotdesk.data / "desks" / "mine"
    (desk / "keep").mkdir(parents=True)
    (desk / "desk.json").write_text("{")

    listed = hotdesk.run("cache")
    done = hotdesk.try_("cache", "gc")

    assert "desk mine" in listed
    assert "hotdesk rm mine" in listed
    assert hotdesk.json("cache")["unreadable"].keys() == {"desk mine"}
    assert done.returncode == 1
    assert done.stderr.count("hint:") == 1
    assert store.item("system", "a" * 40).exists()


def test_repair_that_cannot_be_done_is_no_success(hotdesk: Hotdesk) -> None:
    store = a_store(hotdesk)
    (store.item("system", "a" * 40) / "tree" / "file").write_text("content?")

    with store.using([("system", "a" * 40)]):
        done = hotdesk.try_("cache", "verify", "--repair")

    assert done.returncode == 1
    assert "in use" in done.stderr


def test_long_work_on_the_store_is_told_where_nobody_watches(hotdesk: Hotdesk) -> None:
    a_store(hotdesk)

    assert "measuring the store…\n" in hotdesk.try_("cache").stderr
    assert "verifying…\n" in hotdesk.try_("cache", "verify").stderr
    assert "removing what nobody needs…\n" in hotdesk.try_("cache", "gc").stderr
    assert hotdesk.try_("cache", "--json").stderr == ""


def test_whoever_waits_for_a_collection_to_begin_is_told_why(hotdesk: Hotdesk) -> None:
    store = a_store(hotdesk)
    with store.in_use():
        waiting = hotdesk.start("cache", "gc")
        assert waiting.stderr
        told = waiting.stderr.readline()
        assert waiting.poll() is None
    waiting.communicate()

    assert told == "waiting for other hotdesk processes that work on this store\n"
    assert waiting.returncode == 0
