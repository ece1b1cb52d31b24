from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from hotdesk.errors import StoreError
from hotdesk.store import Store, default_store_path, item_key, remove_tree


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_an_item_is_made_once_and_then_taken(store: Store) -> None:
    made = []

    def fill(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("content")

    first = store.make("wheel", "key", fill)
    second = store.make("wheel", "key", fill)

    assert first == second == store.item("wheel", "key")
    assert (first / "file").read_text() == "content"
    assert len(made) == 1


def test_an_item_whose_making_fails_does_not_exist(store: Store) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("…")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.make("wheel", "key", fill)

    assert not store.item("wheel", "key").exists()
    assert list((store.root / "tmp").iterdir()) == []


def _make_slowly(root: Path, log: Path) -> None:
    def fill(folder: Path) -> None:
        with log.open("a") as stream:
            stream.write("made\n")
        time.sleep(0.3)
        (folder / "file").write_text("content")

    Store(root).make("wheel", "key", fill)


def test_of_eight_processes_one_makes_the_item_and_the_others_take_it(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_make_slowly, args=(store.root, log)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 8
    assert log.read_text() == "made\n"


def _hang(root: Path, started: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("…")
        started.touch()
        time.sleep(60)

    Store(root).make("wheel", "key", fill)


def test_a_killed_maker_leaves_no_lock_and_no_item(store: Store, tmp_path: Path) -> None:
    started = tmp_path / "started"
    process = multiprocessing.get_context("fork").Process(target=_hang, args=(store.root, started))
    process.start()
    deadline = time.monotonic() + 20
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    assert not store.item("wheel", "key").exists()
    assert store.make("wheel", "key", lambda folder: (folder / "whole").touch()).joinpath("whole").exists()


def test_a_store_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(StoreError, match="HOTDESK_STORE"):
        Store(tmp_path / "file" / "store").make("wheel", "key", lambda _: None)


def test_a_store_is_private_whatever_the_umask(store: Store) -> None:
    before = os.umask(0)
    try:
        store.make("wheel", "key", lambda _: None)
    finally:
        os.umask(before)

    assert store.root.stat().st_mode & 0o777 == 0o700


def test_a_store_that_others_may_write_to_is_refused(store: Store) -> None:
    """What lies in it gets executed."""
    store.root.mkdir()
    store.root.chmod(0o777)

    with pytest.raises(StoreError, match="others may write"):
        store.make("wheel", "key", lambda _: None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_store_of_somebody_else_is_refused(store: Store) -> None:
    store.root.mkdir()
    os.chown(store.root, 12345, 12345)

    with pytest.raises(StoreError, match="somebody else"), store.in_use():
        pass


# Items in use


def test_an_item_that_somebody_uses_is_not_removed(store: Store) -> None:
    item = store.make("environment", "key", lambda _: None)

    with store.using([("environment", "key")]), Store(store.root).using([("environment", "key")]):
        assert not store.remove("environment", "key")
        assert item.exists()

    assert store.remove("environment", "key")
    assert not item.exists()
    assert list((store.root / "tmp").iterdir()) == []


def test_an_item_can_be_used_before_it_is_made(store: Store) -> None:
    with store.using([("environment", "key")]):
        store.make("environment", "key", lambda _: None)

        assert not store.remove("environment", "key")


# Waiting


def _hold(root: Path, held: Path, seconds: float) -> None:
    with Store(root).exclusive("name"):
        held.touch()
        time.sleep(seconds)


def waited(store: Store, tmp_path: Path, seconds: float) -> list[str]:
    """What is said while another process holds a lock for so long."""
    said: list[str] = []
    held = tmp_path / "held"
    process = multiprocessing.get_context("fork").Process(target=_hold, args=(store.root, held, seconds))
    process.start()
    while not held.exists():
        time.sleep(0.01)
    waiting = Store(store.root, said.append)
    with waiting.exclusive("name"):
        pass
    process.join()
    return said


def test_whoever_waits_for_another_process_is_told_once(store: Store, tmp_path: Path) -> None:
    assert waited(store, tmp_path, 1.6) == ["waiting for another hotdesk process that does the same"]


def test_a_short_wait_is_not_worth_a_word(store: Store, tmp_path: Path) -> None:
    assert waited(store, tmp_path, 0.3) == []


def test_a_lock_that_is_held_is_not_waited_for(store: Store) -> None:
    with store.try_exclusive("name") as first, Store(store.root).try_exclusive("name") as second:
        assert (first, second) == (True, False)

    with store.try_exclusive("name") as again:
        assert again


# A power failure


def boot_again(store: Store) -> None:
    """As the marks look after the machine went down: another boot made them."""
    for mark in (store.root / "unsettled").iterdir():
        _, kind, key = mark.name.split(".", 2)
        mark.rename(mark.with_name(f"another-boot.{kind}.{key}"))


def test_what_the_disk_may_not_have_after_a_power_failure_is_made_again(store: Store) -> None:
    settled = store.make("wheel", "settled", lambda _: None)
    store.settle()
    lost = store.make("wheel", "lost", lambda _: None)
    boot_again(store)

    with Store(store.root).in_use():
        assert settled.exists()
        assert not lost.exists()
        store.make("wheel", "lost", lambda _: None)

    with store.using([("wheel", "lost")]):
        assert lost.exists()


def test_what_this_boot_made_stays(store: Store) -> None:
    item = store.make("wheel", "key", lambda _: None)

    with store.in_use(), store.using([("wheel", "key")]):
        assert item.exists()


def test_an_item_that_changes_again_is_unsettled_again(store: Store) -> None:
    item = store.make("environment", "key", lambda _: None)
    store.settle()
    store.mark_unsettled("environment", "key")
    boot_again(store)

    store.remove_unsettled()

    assert not item.exists()


def test_the_store_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOTDESK_STORE", str(tmp_path))

    assert default_store_path() == tmp_path


def test_keys_tell_parts_from_their_concatenation() -> None:
    assert item_key("recipe", "ab", "c") != item_key("recipe", "a", "bc")
    assert item_key("recipe", "ab") == item_key("recipe", "ab")


def test_removing_a_tree_never_follows_a_link_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    tree = tmp_path / "tree"
    (tree / "locked").mkdir(parents=True)
    (tree / "locked" / "file").touch()
    (tree / "locked").chmod(0o500)
    (tree / "link").symlink_to(outside)

    remove_tree(tree)

    assert not tree.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_a_blob_that_another_boot_left_unsettled_is_removed(store: Store) -> None:
    for shelf in ("blob", "download"):
        place = store.place(shelf, "ab" * 32)
        place.parent.mkdir(parents=True)
        place.write_bytes(b"perhaps")
        store.mark_unsettled(shelf, "ab" * 32)
    for mark in (store.root / "unsettled").iterdir():
        mark.rename(mark.with_name("another-boot." + mark.name.partition(".")[2]))

    store.remove_unsettled()

    assert not store.place("blob", "ab" * 32).exists()
    assert not store.place("download", "ab" * 32).exists()
