from __future__ import annotations

import hashlib
import itertools
import json
import os
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import WHEEL, write_wheel
from tests.support.environments import make_environment

from hotdesk.build.environment import EnvironmentBuild, add_bytecode, verify_environment
from hotdesk.errors import UnsafeArchiveError
from hotdesk.keys import environment_key
from hotdesk.layers.contents import scan_tree, write_contents
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.progress import SILENT
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    MakeWheel = Callable[[str, Mapping[str, bytes]], Path]

SITE = "lib/python3.13/site-packages"


class Notes:
    """Progress that keeps what it is told."""

    task = staticmethod(SILENT.task)

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def item(tmp_path: Path, store: Store) -> MakeWheel:
    """Makes the wheel `name` of some files, and its tree in the store."""

    def make(name: str, files: Mapping[str, bytes]) -> Path:
        info = {f"{name}-1.dist-info/WHEEL": WHEEL}
        wheel = write_wheel(tmp_path / f"{name}-1-py3-none-any.whl", {**info, **files})
        return make_wheel_tree(store, wheel, hashlib.sha256(wheel.read_bytes()).hexdigest(), "3.13")

    return make


def bytecode_item(store: Store, wheel: Path, files: Mapping[str, bytes]) -> Path:
    def fill(item: Path) -> None:
        for name, content in files.items():
            path = item / "tree" / SITE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        write_contents(scan_tree(item / "tree"), item)
        (item / "wheel").write_text(wheel.name)

    return store.make("bytecode", f"of-{wheel.name}", fill)


def test_an_environment_is_a_virtual_environment_of_the_desks_python(store: Store, item: MakeWheel) -> None:
    tree = make_environment(store, [item("a", {"a.py": b"x"})], "3.13") / "tree"

    assert (tree / "bin/python").readlink().as_posix() == "/usr/bin/python3.13"
    assert (tree / "bin/python3.13").readlink().as_posix() == "/usr/bin/python3.13"
    settings = dict(line.split(" = ") for line in (tree / "pyvenv.cfg").read_text().splitlines())
    assert settings["home"] == "/usr/bin"
    assert settings["include-system-site-packages"] == "false"


def test_environments_share_their_files_with_the_wheels(store: Store, item: MakeWheel) -> None:
    first, second = item("a", {"a.py": b"x"}), item("b", {"p/q/r.py": b"r"})
    one = make_environment(store, [first], "3.13") / "tree"
    both = make_environment(store, [first, second], "3.13") / "tree"

    assert (one / SITE / "a.py").samefile(first / "tree" / SITE / "a.py")
    assert (both / SITE / "a.py").samefile(one / SITE / "a.py")
    assert (both / SITE / "p/q/r.py").read_bytes() == b"r"


def test_the_key_follows_from_the_wheels_keys_and_their_order(store: Store, item: MakeWheel) -> None:
    first, second = item("a", {"a.py": b"x"}), item("b", {"b.py": b"x"})

    made = make_environment(store, [first, second], "3.13")

    assert made.name == environment_key([first.name, second.name], "3.13", ())
    assert made.name != environment_key([second.name, first.name], "3.13", ())
    assert made.name != environment_key([first.name, second.name], "3.12", ())


def test_another_interpreter_makes_another_environment(store: Store, item: MakeWheel) -> None:
    """Its bytecode is linked into it, so what a desk runs must not follow from who opened one before."""
    wheel = item("a", {"a.py": b"x"})

    made = make_environment(store, [wheel], "3.13", interpreter=("1", "2"))

    assert made.name == environment_key([wheel.name], "3.13", ("2", "1"))
    assert made != make_environment(store, [wheel], "3.13", interpreter=("1", "3"))


def test_everybody_may_read_the_tree_whatever_the_umask(store: Store, item: MakeWheel) -> None:
    wheel = item("a", {"p/a.py": b"x"})
    before = os.umask(0o077)
    try:
        tree = make_environment(store, [wheel], "3.13") / "tree"
    finally:
        os.umask(before)

    assert {path.stat().st_mode & 0o777 for path in (tree, *tree.rglob("*/"))} == {0o755}


def test_the_later_of_two_wheels_wins_and_it_is_said(store: Store, item: MakeWheel) -> None:
    first = item("first", {"shared.py": b"first", "same.py": b"same"})
    second = item("second", {"shared.py": b"second", "same.py": b"same"})
    progress = Notes()

    tree = make_environment(store, [first, second], "3.13", progress=progress) / "tree"
    other = make_environment(store, [second, first], "3.13") / "tree"

    assert (tree / SITE / "shared.py").read_bytes() == b"second"
    assert (other / SITE / "shared.py").read_bytes() == b"first"
    assert progress.notes == [f"second replaces 1 file of first: {SITE}/shared.py"]


def test_a_file_and_a_folder_of_one_name_are_refused(store: Store, item: MakeWheel) -> None:
    wheels = [item("a", {"x": b""}), item("b", {"x/y": b""})]

    with pytest.raises(UnsafeArchiveError, match="site-packages/x"):
        make_environment(store, wheels, "3.13")


def test_bytecode_can_come_before_or_after(store: Store, item: MakeWheel) -> None:
    wheel = item("a", {"p/a.py": b"x"})
    pyc = bytecode_item(store, wheel, {"p/__pycache__/a.cpython-313.pyc": b"code"})
    with_it = make_environment(store, [wheel], "3.13", bytecode=[pyc]) / "tree"
    later = make_environment(store, [item("b", {"b.py": b""}), wheel], "3.13")

    assert not (later / "tree" / SITE / "p/__pycache__").exists()
    add_bytecode(later, [pyc])
    add_bytecode(later, [pyc])
    name = f"{SITE}/p/__pycache__/a.cpython-313.pyc"
    assert (with_it / name).samefile(pyc / "tree" / name)
    assert (later / "tree" / name).samefile(pyc / "tree" / name)


def test_bytecode_half_linked_by_a_killed_process_is_completed(store: Store, item: MakeWheel) -> None:
    wheel = item("a", {"a.py": b"x", "b.py": b"x"})
    pyc = bytecode_item(
        store, wheel, {"__pycache__/a.cpython-313.pyc": b"a", "__pycache__/b.cpython-313.pyc": b"b"}
    )
    environment = make_environment(store, [wheel], "3.13")
    cache = environment / "tree" / SITE / "__pycache__"
    cache.mkdir()
    os.link(pyc / "tree" / SITE / "__pycache__/a.cpython-313.pyc", cache / "a.cpython-313.pyc")

    add_bytecode(environment, [pyc])

    assert sorted(path.name for path in cache.iterdir()) == ["a.cpython-313.pyc", "b.cpython-313.pyc"]


def test_our_bytecode_replaces_what_a_wheel_ships(store: Store, item: MakeWheel) -> None:
    wheel = item("a", {"a.py": b"x", "__pycache__/a.cpython-313.pyc": b"theirs"})
    pyc = bytecode_item(store, wheel, {"__pycache__/a.cpython-313.pyc": b"ours"})
    environment = make_environment(store, [wheel], "3.13", bytecode=[pyc])

    cache = environment / "tree" / SITE / "__pycache__"
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == {"a.cpython-313.pyc": b"ours"}
    assert (wheel / "tree" / SITE / "__pycache__/a.cpython-313.pyc").read_bytes() == b"theirs"


def test_a_module_of_two_wheels_gets_the_winners_bytecode(store: Store, item: MakeWheel) -> None:
    first, second = item("a", {"x.py": b"first"}), item("b", {"x.py": b"second"})
    name = "__pycache__/x.cpython-313.pyc"
    items = [bytecode_item(store, wheel, {name: wheel.name.encode()}) for wheel in (first, second)]

    environment = make_environment(store, [first, second], "3.13", bytecode=items)
    reversed_ = make_environment(store, [first, second], "3.13")
    add_bytecode(reversed_, items[::-1])

    assert (environment / "tree" / SITE / name).read_text() == second.name
    assert (reversed_ / "tree" / SITE / name).read_text() == second.name


def test_where_links_run_out_files_are_copied(store: Store, item: MakeWheel, tmp_path: Path) -> None:
    wheel = item("a", {"a.py": b"x" * 2_000_000})
    source = wheel / "tree" / SITE / "a.py"
    links = tmp_path / "links"
    links.mkdir()
    most = os.pathconf(links, "PC_LINK_MAX")
    if most > 100_000:
        pytest.skip(f"this file system allows {most} links to a file")
    for number in range(most - source.stat().st_nlink):
        os.link(source, links / str(number))

    tree = make_environment(store, [wheel], "3.13") / "tree"

    copy = tree / SITE / "a.py"
    assert not copy.samefile(source)
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_mode == source.stat().st_mode


def test_verifying_finds_what_changed(store: Store, item: MakeWheel) -> None:
    wheels = [item("a", {"a.py": b"x", "c.py": b""}), item("b", {"a.py": b"y", "b.py": b""})]
    pyc = bytecode_item(store, wheels[0], {"__pycache__/c.cpython-313.pyc": b""})
    environment = make_environment(store, wheels, "3.13", bytecode=[pyc])
    assert verify_environment(store, environment) == []

    site = environment / "tree" / SITE
    (site / "a.py").write_bytes(b"z")
    (site / "c.py").unlink()
    (site / "d.py").touch()
    (environment / "tree/pyvenv.cfg").write_text("")
    (site / "_hotdesk/__init__.py").write_text("import evil")
    (site / "zzz_hotdesk.pth").unlink()

    found = verify_environment(store, environment)
    changed = ("a.py", "c.py", "d.py", "pyvenv", "_hotdesk/__init__.py", "zzz_hotdesk.pth")
    assert len(found) == len(changed)
    assert [any(name in line for line in found) for name in changed] == [True] * len(changed)


def test_an_environment_of_another_hotdesk_is_no_damage(store: Store, item: MakeWheel) -> None:
    environment = make_environment(store, [item("a", {"a.py": b"x"})], "3.13")
    record = environment / "made-of.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "format": 0}))
    (environment / "tree" / SITE / "zzz_hotdesk.pth").unlink()

    assert verify_environment(store, environment) == []


def test_bytecode_in_place_of_a_wheels_own_is_no_damage(store: Store, item: MakeWheel) -> None:
    wheel = item("a", {"a.py": b"x", "__pycache__/a.cpython-313.pyc": b"theirs"})
    pyc = bytecode_item(store, wheel, {"__pycache__/a.cpython-313.pyc": b"ours"})

    environment = make_environment(store, [wheel], "3.13", bytecode=[pyc])

    assert verify_environment(store, environment) == []


def test_bytecode_that_was_copied_is_verified(store: Store, item: MakeWheel) -> None:
    wheel = item("a", {"a.py": b"x"})
    pyc = bytecode_item(store, wheel, {"__pycache__/a.cpython-313.pyc": b"ours"})
    environment = make_environment(store, [wheel], "3.13", bytecode=[pyc])
    linked = environment / "tree" / SITE / "__pycache__/a.cpython-313.pyc"
    linked.unlink()
    linked.write_bytes(b"evil")  # a file of its own, as where hard links cannot be

    [problem] = verify_environment(store, environment)

    assert problem.startswith(f"{SITE}/__pycache__/a.cpython-313.pyc is sha256:")


def test_bytecode_that_is_half_linked_is_no_damage_and_strange_bytecode_is(
    store: Store, item: MakeWheel
) -> None:
    wheel = item("a", {"a.py": b"x", "b.py": b"x"})
    pyc = bytecode_item(
        store, wheel, {"__pycache__/a.cpython-313.pyc": b"a", "__pycache__/b.cpython-313.pyc": b"b"}
    )
    environment = make_environment(store, [wheel], "3.13", bytecode=[pyc])
    cache = environment / "tree" / SITE / "__pycache__"
    (environment / "compiled" / pyc.name).rename(environment / "compiled" / f"{pyc.name}.begun")
    (cache / "b.cpython-313.pyc").unlink()
    (cache / ".b.cpython-313.pyc.77").touch()
    assert verify_environment(store, environment) == []

    (cache / "strange.cpython-313.pyc").touch()

    assert verify_environment(store, environment) == [
        f"{SITE}/__pycache__/strange.cpython-313.pyc does not belong here"
    ]


def test_the_order_in_which_wheels_arrive_makes_no_difference(
    store: Store, item: MakeWheel, tmp_path: Path
) -> None:
    shared = {"same.py": b"the same", "deep/x.py": b""}
    wheels = [item(name, {**shared, "other.py": name.encode(), f"deep/{name}.py": b""}) for name in "abc"]
    expected = scan_tree(make_environment(store, wheels, "3.13") / "tree")

    for number, arrivals in enumerate(itertools.permutations(wheels)):
        folder = tmp_path / f"environment{number}"
        folder.mkdir()
        build = EnvironmentBuild(folder, "3.13")
        for wheel in arrivals[:2]:
            build.link(wheel)
        build.settle(sorted(arrivals[:2], key=wheels.index))  # enough to start with
        build.link(arrivals[2])
        build.finish(wheels)
        assert scan_tree(folder / "tree") == expected
        assert (folder / "tree" / SITE / "other.py").read_bytes() == b"c"


def test_a_file_and_a_folder_of_one_name_are_refused_whoever_comes_first(
    item: MakeWheel, tmp_path: Path
) -> None:
    wheels = [item("a", {"thing": b"a file"}), item("b", {"thing/inside.py": b""})]

    for number, arrivals in enumerate((wheels, wheels[::-1])):
        folder = tmp_path / f"environment{number}"
        folder.mkdir()
        build = EnvironmentBuild(folder, "3.13")
        for wheel in arrivals:
            build.link(wheel)
        with pytest.raises(UnsafeArchiveError, match="thing` is a file in one, a folder in the other"):
            build.finish(wheels)


def test_a_folder_in_the_place_of_the_environments_own_files_is_refused(
    item: MakeWheel, tmp_path: Path
) -> None:
    for number, name in enumerate(("a-1.data/scripts/python/x", "a-1.data/data/pyvenv.cfg/x")):
        folder = tmp_path / f"environment{number}"
        folder.mkdir()
        wheel = item("a", {name: b"", "zzz/module.py": b""})
        build = EnvironmentBuild(folder, "3.13")
        build.link(wheel)
        with pytest.raises(UnsafeArchiveError, match="is a file in one, a folder in the other"):
            build.finish([wheel])
