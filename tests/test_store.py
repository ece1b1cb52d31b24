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
