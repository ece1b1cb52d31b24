"""An environment that was made ahead is the one that would have been made, and takes a moment."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.layers.wheelhouse import WHEEL, write_wheel
from tests.support.environments import make_environment

from hotdesk.build.environment import EnvironmentBuild, made_of, verify_environment
from hotdesk.build.spare import keep_spare, take_spare
from hotdesk.layers.contents import scan_tree, write_contents
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SITE = "lib/python3.13/site-packages"


class Shelf:
    """A store with wheels and their bytecode, which is all alike but for its wheel's name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self._number = itertools.count()

    def wheel(self, name: str, files: Mapping[str, bytes]) -> tuple[Path, Path]:
        members = {f"{name}-1.dist-info/WHEEL": WHEEL, **files}
        file = write_wheel(self.folder / f"{name}-1-py3-none-any.whl", members)
        wheel = make_wheel_tree(self.store, file, hashlib.sha256(file.read_bytes()).hexdigest(), "3.13")

        def compiled(item: Path) -> None:
            (item / "tree").mkdir()
            for module in (path for path in files if path.endswith(".py")):
                folder, _, stem = module.removesuffix(".py").rpartition("/")
                below, data, inside = folder.partition(".data/data")
                place = inside.strip("/") if data else f"{SITE}/{below}"
                pyc = item / "tree" / place / "__pycache__" / f"{stem}.cpython-313.pyc"
                pyc.parent.mkdir(parents=True, exist_ok=True)
                pyc.write_bytes(name.encode() + files[module])
            write_contents(scan_tree(item / "tree"), item)
            (item / "wheel").write_text(wheel.name)

        return wheel, self.store.make("bytecode", f"of-{wheel.name}", compiled)

    def keep(self, parts: Sequence[tuple[Path, Path]]) -> None:
        keep_spare(self.store, "of-the-last", "3.13", [one for one, _ in parts], [two for _, two in parts])

    def take(self, parts: Sequence[tuple[Path, Path]]) -> EnvironmentBuild:
        item = self.folder / f"environment{next(self._number)}"
        item.mkdir()
        wanted = {(path.parent.name, path.name) for part in parts for path in part}
        return EnvironmentBuild(item, "3.13", take_spare(self.store, item, wanted))

    def complete(self, build: EnvironmentBuild, parts: Sequence[tuple[Path, Path]]) -> Path:
        wheels = [wheel for wheel, _ in parts]
        for wheel in wheels:
            if wheel not in build.spare:
                build.link(wheel)
        build.finish(wheels, [bytecode for _, bytecode in parts])
        return build.tree.parent


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def spares(shelf: Shelf) -> list[str]:
    return sorted(path.name for path in (shelf.store.root / "items" / "spare").iterdir())


def test_a_package_more_links_that_package_alone(shelf: Shelf) -> None:
    old, new = shelf.wheel("old", {"old.py": b"1"}), shelf.wheel("new", {"new.py": b"2"})
    shelf.keep([old])

    build = shelf.take([old, new])

    assert build.spare == {old[0]}
    assert (build.tree / SITE / "old.py").samefile(old[0] / "tree" / SITE / "old.py")
    assert spares(shelf) == []
    environment = shelf.complete(build, [old, new])
    assert verify_environment(shelf.store, environment) == []
    assert scan_tree(build.tree).entries == scan_tree(_anew(shelf, [old, new]) / "tree").entries


def test_a_package_less_or_another_one_is_taken_out(shelf: Shelf) -> None:
    stays = [shelf.wheel(name, {f"{name}/x.py": b"", "common/y.txt": b""}) for name in "ab"]
    goes = shelf.wheel("goes", {"goes/deep/z.py": b"", "top.py": b""})
    shelf.keep([*stays, goes])

    build = shelf.take(stays)

    assert build.spare == {wheel for wheel, _ in stays}
    assert not (build.tree / SITE / "goes").exists()
    environment = shelf.complete(build, stays)
    assert made_of(environment) == {(path.parent.name, path.name) for part in stays for path in part}
    assert scan_tree(build.tree).entries == scan_tree(_anew(shelf, stays) / "tree").entries


def test_what_is_mostly_something_else_is_left(shelf: Shelf) -> None:
    one, other = shelf.wheel("one", {"one.py": b""}), shelf.wheel("other", {"other.py": b""})
    shelf.keep([one])

    assert shelf.take([other]).spare == set()

    assert spares(shelf) == ["of-the-last"]


def test_a_spare_whose_parts_are_gone_is_left(shelf: Shelf) -> None:
    stays = [shelf.wheel(name, {f"{name}.py": b""}) for name in "ab"]
    goes = shelf.wheel("goes", {"goes.py": b""})
    shelf.keep([*stays, goes])
    shelf.store.remove("wheel", goes[0].name)

    assert shelf.take(stays).spare == set()


def test_one_is_kept(shelf: Shelf) -> None:
    part = shelf.wheel("a", {"a.py": b""})
    for key in ("first", "second"):
        keep_spare(shelf.store, key, "3.13", [part[0]], [part[1]])

    assert spares(shelf) == ["second"]


def test_the_bytecode_of_a_module_that_another_wheel_has_now_does_not_stay(shelf: Shelf) -> None:
    first, second = shelf.wheel("first", {"x.py": b"1"}), shelf.wheel("second", {"x.py": b"2"})
    shelf.keep([first])

    environment = shelf.complete(shelf.take([first, second]), [first, second])

    pyc = environment / "tree" / SITE / "__pycache__" / "x.cpython-313.pyc"
    assert pyc.read_bytes() == b"second2"


def test_our_bytecode_stays_where_two_wheels_ship_their_own(shelf: Shelf) -> None:
    shared = {"x.py": b"", "__pycache__/x.cpython-313.pyc": b""}
    parts = [shelf.wheel(name, dict.fromkeys(shared, name.encode())) for name in "ab"]
    shelf.keep(parts)
    parts.append(shelf.wheel("c", {"c.py": b""}))

    environment = shelf.complete(shelf.take(parts), parts)

    assert (environment / "tree" / SITE / "__pycache__/x.cpython-313.pyc").read_bytes() == b"bb"
    assert verify_environment(shelf.store, environment) == []


def test_the_only_command_may_go(shelf: Shelf) -> None:
    stays = [shelf.wheel(name, {f"{name}.py": b""}) for name in "ab"]
    goes = shelf.wheel("tool", {"tool-1.data/scripts/tool": b"#!python\n"})
    shelf.keep([*stays, goes])

    environment = shelf.complete(shelf.take(stays), stays)

    assert scan_tree(environment / "tree").entries == scan_tree(_anew(shelf, stays) / "tree").entries


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"python": "3.13", "wheels": []}'])
def test_a_damaged_spare_is_left(shelf: Shelf, content: bytes) -> None:
    part = shelf.wheel("a", {"a.py": b""})
    shelf.keep([part])
    (shelf.store.root / "items" / "spare" / "of-the-last" / "made-of.json").write_bytes(content)

    assert shelf.take([part]).spare == set()


MODULES = st.dictionaries(
    st.sampled_from(
        ["x.py", "p/x.py", "p/q/y.py", "z.txt", "__pycache__/x.cpython-313.pyc", "DATA/x.py", "DATA/bin/z"]
    ),
    st.sampled_from([b"1", b"2"]),
    max_size=3,
)


@given(
    wheels=st.lists(MODULES, min_size=1, max_size=4),
    before=st.sets(st.integers(0, 3)),
    after=st.sets(st.integers(0, 3)),
)
@example(
    wheels=[{"x.py": b"1", "__pycache__/x.cpython-313.pyc": b"1"}, {"__pycache__/x.cpython-313.pyc": b"2"}],
    before={0, 1},
    after={0, 1},
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_it_is_made_from_an_environment_is_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    wheels: list[dict[str, bytes]],
    before: set[int],
    after: set[int],
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    named = [(f"w{number}", files) for number, files in enumerate(wheels)]
    parts = [
        shelf.wheel(name, {path.replace("DATA", f"{name}-1.data/data"): files[path] for path in files})
        for name, files in named
    ]
    old = [part for number, part in enumerate(parts) if number in before]
    new = [part for number, part in enumerate(parts) if number in after]
    shelf.keep(old)

    made = shelf.complete(shelf.take(new), new)

    anew = _anew(shelf, new)
    assert scan_tree(made / "tree").entries == scan_tree(anew / "tree").entries
    assert made_of(made) == made_of(anew)
    assert json.loads((made / "owners.json").read_text()) == json.loads((anew / "owners.json").read_text())


def _anew(shelf: Shelf, parts: Sequence[tuple[Path, Path]]) -> Path:
    wheels, bytecode = [wheel for wheel, _ in parts], [compiled for _, compiled in parts]
    return make_environment(shelf.store, wheels, "3.13", interpreter=("anew",), bytecode=bytecode)
