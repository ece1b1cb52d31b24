"""What the store keeps, for whom, and how damage in it is found."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import WHEEL, write_wheel
from tests.support.environments import make_environment
from tests.support.images import put_in_store, small_image

from hotdesk.build.environment import add_bytecode
from hotdesk.build.spare import keep_spare
from hotdesk.cache import collect_garbage, usage, users, verify
from hotdesk.desk.folder import Desk, make_folder, write_desk
from hotdesk.engines.request import Root
from hotdesk.errors import RegistryError, StoreError
from hotdesk.keys import IMAGE_NAME, Keys, unpacked_key
from hotdesk.layers.contents import scan_tree, write_contents
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.lock import (
    Artifact,
    Build,
    DebianPackage,
    Inputs,
    Lock,
    PlatformLock,
    PythonPackage,
    format_lock,
    write_lock,
)
from hotdesk.oci.pulled import bare, pulled_image, remember_reference
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

SITE = "tree/lib/python3.13/site-packages"


class Shelf:
    """A store, and locks whose packages are in it, as `hotdesk up` would have left them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")

    def wheel(self, name: str) -> PythonPackage:
        wheel = write_wheel(
            self.folder / f"{name}-1-py3-none-any.whl",
            {f"{name}-1.dist-info/WHEEL": WHEEL, f"{name}.py": f"name = '{name}'\n".encode()},
        )
        return PythonPackage(name, "1", self.download("pypi", name, wheel.name, wheel), ("default",), 0)

    def deb(self, name: str) -> DebianPackage:
        deb = self.folder / f"{name}_1_all.deb"
        deb.write_bytes(name.encode() * 100)
        artifact = self.download("debian", "debian", f"pool/main/{name[0]}/{name}/{deb.name}", deb)
        return DebianPackage(name, "1", "all", artifact, ("default",))

    def download(self, kind: str, project: str, file: str, path: Path) -> Artifact:
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        target = self.store.download(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return Artifact(kind, project, file, len(content), sha256)  # type: ignore[arg-type]

    def lock(self, *pypi: PythonPackage) -> Lock:
        inputs = Inputs(
            "3.13", "debian:trixie", ("linux/amd64",), tuple(p.name for p in pypi), (), {"default": ((), ())}
        )
        return Lock(inputs, "20260101T000000Z", {"linux/amd64": PlatformLock((self.deb("base"),), pypi)})

    def open(self, lock: Lock, name: str) -> Path:
        """Make all of the lock's items, and have the store know of the lock file; that file's path."""
        locked = lock.select("linux/amd64", "default")
        keys = Keys.of(locked)
        wheels = [
            make_wheel_tree(
                self.store, self.store.download(p.artifact.sha256), p.artifact.sha256, "3.13", p.artifact.name
            )
            for p in locked.pypi
        ]
        environment = make_environment(self.store, wheels, "3.13")
        self.store.make("system", keys.system, _a_small_tree)
        path = self.folder / name / "hotdesk.lock"
        path.parent.mkdir()
        write_lock(lock, path)
        self.store.record_user(path)
        assert {wheel.name for wheel in wheels} == set(keys.wheels)
        assert environment.name == keys.environment
        return path

    def items(self) -> set[str]:
        return {path.name for path in (self.store.root / "items").glob("*/*")}

    def downloads(self) -> set[str]:
        return {path.name for path in (self.store.root / "downloads").iterdir()}


def _a_small_tree(item: Path) -> None:
    (item / "tree" / "etc").mkdir(parents=True)
    (item / "tree" / "etc" / "motd").write_text("hello")
    write_contents(scan_tree(item / "tree"), item)


def keys_of(lock: Lock) -> set[str]:
    return {key for _, key in Keys.of(lock.select("linux/amd64", "default")).items()}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOTDESK_STORE", str(tmp_path / "store"))
    return Shelf(tmp_path)


# Who needs what


def test_what_a_lock_needs_stays_and_all_else_goes(shelf: Shelf) -> None:
    kept, dropped = shelf.lock(shelf.wheel("shared"), shelf.wheel("kept")), shelf.lock(shelf.wheel("dropped"))
    shelf.open(kept, "one")
    shelf.open(dropped, "two").unlink()

    freed = collect_garbage(shelf.store)

    needed = kept.select("linux/amd64", "default").artifacts()
    assert freed > 0
    assert shelf.downloads() == {artifact.sha256 for artifact in needed}
    assert shelf.items() == keys_of(kept) & shelf.items()
    assert {path.parent.name for path in (shelf.store.root / "items").glob("*/*")} == {
        "system",
        "environment",
        "wheel",
    }
    assert [user.name for user in users(shelf.store)] == [str(shelf.folder / "one" / "hotdesk.lock")]


def test_a_second_collection_finds_nothing(shelf: Shelf) -> None:
    shelf.open(shelf.lock(shelf.wheel("kept")), "one")
    collect_garbage(shelf.store)

    assert collect_garbage(shelf.store) == 0


def test_a_stopped_desk_keeps_its_packages_when_its_lock_file_is_gone(shelf: Shelf) -> None:
    lock = shelf.lock(shelf.wheel("kept"))
    shelf.open(lock, "one").unlink()
    a_desk(shelf, "mine", format_lock(lock))

    collect_garbage(shelf.store)

    assert shelf.items() == keys_of(lock) & shelf.items() != set()
    assert [user.name for user in users(shelf.store)] == ["desk mine"]


def test_a_command_without_a_lock_file_keeps_what_it_runs_from_while_it_lasts(shelf: Shelf) -> None:
    lock = shelf.lock(shelf.wheel("kept"))
    shelf.open(lock, "one").unlink()
    keys = Keys.of(lock.select("linux/amd64", "default"))

    with shelf.store.using([("environment", keys.environment), ("system", keys.system)]):
        collect_garbage(shelf.store)

        assert shelf.items() == {keys.environment, keys.system, *keys.wheels}
        assert verify(shelf.store) == []

    collect_garbage(shelf.store)
    assert shelf.items() == set()


def test_only_a_collection_forgets_a_lock_that_is_gone(shelf: Shelf) -> None:
    path = shelf.open(shelf.lock(shelf.wheel("kept")), "one")
    away = path.rename(path.with_name("away"))

    assert users(shelf.store) == []
    away.rename(path)

    assert [user.name for user in users(shelf.store)] == [str(path)]
    path.unlink()
    collect_garbage(shelf.store)
    assert list((shelf.store.root / "users").iterdir()) == []


def test_a_record_that_a_power_failure_emptied_is_nobodys(shelf: Shelf) -> None:
    shelf.open(shelf.lock(shelf.wheel("kept")), "one")
    [record] = (shelf.store.root / "users").iterdir()
    record.write_bytes(b"")

    assert users(shelf.store) == []
    collect_garbage(shelf.store)
    assert not record.exists()


def a_desk(shelf: Shelf, name: str, lock: str) -> None:
    folder = shelf.folder / "data" / "desks" / name
    make_folder(folder)
    (folder / "keep").mkdir()
    (folder / "keep" / "hotdesk.lock").write_text(lock)
    root = Root(shelf.folder, shelf.folder)
    write_desk(Desk(name, folder, root, shelf.folder, 8888, "token", 0.0, "boot"))


def test_a_desk_from_an_image_keeps_the_tree_that_was_unpacked_for_it(shelf: Shelf) -> None:
    for image in ("sha256:mine", "sha256:other"):
        shelf.store.make("unpacked", unpacked_key(image), lambda item: (item / "tree").mkdir())
    a_desk(shelf, "mine", "")
    keep = shelf.folder / "data" / "desks" / "mine" / "keep"
    (keep / "hotdesk.lock").unlink()
    (keep / IMAGE_NAME).write_text('{"id": "sha256:mine", "path": "/gone.tar"}')

    collect_garbage(shelf.store)

    assert shelf.items() == {unpacked_key("sha256:mine")}
    for damaged in ("{", "[]", "{}", '{"id": "\\ud800"}', "[" * 100_000):
        (keep / IMAGE_NAME).write_text(damaged)
        with pytest.raises(StoreError, match="what desk mine needs is not known"):
            collect_garbage(shelf.store)
    assert shelf.items() == {unpacked_key("sha256:mine")}


@pytest.mark.parametrize("damage", ["truncated", "without its lock", "open to others"])
def test_a_damaged_desk_is_listed_and_stops_the_collection_only_where_its_needs_are_unknown(
    shelf: Shelf, damage: str
) -> None:
    lock = shelf.lock(shelf.wheel("kept"))
    shelf.open(lock, "one").unlink()
    a_desk(shelf, "mine", format_lock(lock))
    folder = shelf.folder / "data" / "desks" / "mine"
    match damage:
        case "truncated":
            (folder / "desk.json").write_text("{")
        case "without its lock":
            (folder / "keep" / "hotdesk.lock").unlink()
        case "open to others":
            folder.chmod(0o755)
    before = shelf.items()

    [user] = users(shelf.store)

    assert user.name == "desk mine"
    if damage == "without its lock":
        with pytest.raises(StoreError, match="desk mine") as caught:
            collect_garbage(shelf.store)
        assert "hotdesk rm mine" in caught.value.hint
        assert str(caught.value).count("hint:") == 1
    else:
        collect_garbage(shelf.store)
    assert shelf.items() == before


def test_the_home_of_a_command_without_a_desk_needs_nothing(shelf: Shelf) -> None:
    make_folder(shelf.folder / "data" / "desks" / "mine" / "home")

    assert users(shelf.store) == []


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", "{}", ""])
def test_a_lock_that_cannot_be_read_stops_the_collection(shelf: Shelf, text: str) -> None:
    path = shelf.open(shelf.lock(shelf.wheel("kept")), "one")
    path.write_text(text)
    before = shelf.items(), shelf.downloads()

    with pytest.raises(StoreError, match="nothing was removed") as caught:
        collect_garbage(shelf.store)

    assert str(path) in caught.value.hint
    assert (shelf.items(), shelf.downloads()) == before


def test_what_is_on_its_way_for_a_lock_stays(shelf: Shelf) -> None:
    package = shelf.wheel("kept")
    lock = shelf.lock(package)
    shelf.open(lock, "one")
    needed, strange = shelf.store.partial(package.artifact.sha256), shelf.store.partial("0" * 64)
    needed.parent.mkdir()
    needed.write_bytes(b"half")
    strange.write_bytes(b"half")

    collect_garbage(shelf.store)

    assert needed.exists()
    assert not strange.exists()


def test_a_wheel_that_was_built_is_kept_with_what_its_build_requires(shelf: Shelf) -> None:
    tool, built = shelf.wheel("tool"), shelf.wheel("built")
    sdist = shelf.folder / "built-1.tar.gz"
    sdist.write_bytes(b"source")
    artifact = shelf.download("pypi", "built", sdist.name, sdist)
    build = Build((tool.artifact,), built.artifact.name, built.artifact.sha256)
    lock = shelf.lock(PythonPackage("built", "1", artifact, ("default",), 0, build))
    key = Keys.of(lock.select("linux/amd64", "default")).built["built"]
    shelf.store.make("built", key, lambda item: _copy(shelf, built, item))
    path = shelf.folder / "one.lock"
    write_lock(lock, path)
    shelf.store.record_user(path)

    collect_garbage(shelf.store)

    assert {artifact.sha256, tool.artifact.sha256} <= shelf.downloads()
    assert built.artifact.sha256 not in shelf.downloads()
    assert shelf.items() == {key}


def _copy(shelf: Shelf, package: PythonPackage, item: Path) -> None:
    (item / package.artifact.name).write_bytes(shelf.store.download(package.artifact.sha256).read_bytes())


def _hang(root: Path, started: Path) -> None:
    with Store(root).scratch() as folder:
        (folder / "half").write_bytes(b"x" * 5000)
        started.touch()
        time.sleep(60)


def test_what_a_killed_process_left_goes_and_what_a_living_one_makes_stays(shelf: Shelf) -> None:
    context = multiprocessing.get_context("fork")
    killed, alive = (
        context.Process(target=_hang, args=(shelf.store.root, shelf.folder / name)) for name in ("a", "b")
    )
    for process in (killed, alive):
        process.start()
    try:
        deadline = time.monotonic() + 20
        while not ((shelf.folder / "a").exists() and (shelf.folder / "b").exists()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert killed.pid
        os.kill(killed.pid, signal.SIGKILL)
        killed.join()
        assert len(list((shelf.store.root / "tmp").iterdir())) == 2

        collect_garbage(shelf.store)

        assert len(list((shelf.store.root / "tmp").iterdir())) == 1
    finally:
        alive.kill()
        alive.join()


def test_pulled_images_go_with_their_blobs_unless_a_process_uses_them(shelf: Shelf) -> None:
    kept, gone = (put_in_store(shelf.store, small_image(seed)) for seed in (1, 2))
    remember_reference(shelf.store, "registry.example/desk:1", kept)
    remember_reference(shelf.store, "registry.example/desk:2", gone)

    with shelf.store.using([("pulled", bare(kept))]):
        collect_garbage(shelf.store)
        assert pulled_image(shelf.store, kept).id == small_image(1).id
    assert not shelf.store.item("pulled", bare(gone)).exists()
    assert len(list((shelf.store.root / "blobs").iterdir())) == 3

    collect_garbage(shelf.store)
    assert list((shelf.store.root / "blobs").iterdir()) == []
    assert list((shelf.store.root / "pulled").iterdir()) == []


def test_a_file_that_several_items_share_is_counted_once(shelf: Shelf) -> None:
    package = shelf.wheel("big")
    shelf.open(shelf.lock(package), "one")
    [module] = (shelf.store.root / "items" / "wheel").glob(f"*/{SITE}/big.py")
    before = sum(kind.size for kind in usage(shelf.store))

    os.link(module, module.with_name("again.py"))

    assert sum(kind.size for kind in usage(shelf.store)) == before
    assert {"downloads", "wheel trees", "environment trees", "system trees"} <= {
        kind.kind for kind in usage(shelf.store)
    }


# Damage


@pytest.fixture
def opened(shelf: Shelf) -> Shelf:
    shelf.open(shelf.lock(shelf.wheel("one"), shelf.wheel("two")), "folder")
    return shelf


def one(shelf: Shelf, pattern: str) -> Path:
    [path] = shelf.store.root.glob(pattern)
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with path.open("r+b") as file:  # in place: its other names see it too
        file.write(content)


def problems(shelf: Shelf) -> list[str]:
    return [problem.text for problem in verify(shelf.store)]


def test_an_intact_store_has_no_problems(opened: Shelf) -> None:
    assert verify(opened.store) == []


def test_an_empty_store_has_no_problems(shelf: Shelf) -> None:
    assert verify(shelf.store) == []


def test_a_flipped_byte_in_a_download_is_found(opened: Shelf) -> None:
    path = min((opened.store.root / "downloads").iterdir())
    flip(path)

    [problem] = problems(opened)

    assert problem.startswith(f"downloads/{path.name}: its SHA-256 is ")


def test_a_flipped_byte_in_a_blob_is_found_and_repaired(shelf: Shelf) -> None:
    digest = put_in_store(shelf.store, small_image())
    assert verify(shelf.store) == []
    path = min((shelf.store.root / "blobs").iterdir())
    flip(path)

    blob, image = verify(shelf.store, repair=True)

    assert blob.text.startswith(f"blobs/{path.name}: its SHA-256 is ")
    assert image.text.startswith(f"items/pulled/{bare(digest)}: the layer sha256:{path.name} is not in the")
    assert verify(shelf.store) == []
    with pytest.raises(RegistryError, match="is not in the store"):
        pulled_image(shelf.store, digest)


def test_a_flipped_byte_in_a_wheel_is_found_in_its_environment_too(opened: Shelf) -> None:
    flip(one(opened, f"items/wheel/*/{SITE}/one.py"))

    found = problems(opened)

    assert [problem.split("/")[1] for problem in found] == ["wheel", "environment"]
    assert all("one.py is sha256:" in problem for problem in found)


def test_a_spare_environment_is_verified_and_collected(opened: Shelf) -> None:
    wheels = [*(opened.store.root / "items" / "wheel").iterdir()]
    keep_spare(opened.store, "s" * 40, "3.13", wheels, [])
    assert verify(opened.store) == []
    one(opened, f"items/spare/*/{SITE}/two.py").unlink()

    [problem] = problems(opened)
    collect_garbage(opened.store)

    assert problem.startswith("items/spare/")
    assert problem.endswith("is missing")
    assert verify(opened.store) == []
    assert one(opened, f"items/environment/*/{SITE}/two.py").exists()


def test_the_spare_of_an_environment_that_is_needed_stays_as_long(shelf: Shelf) -> None:
    path = shelf.open(shelf.lock(shelf.wheel("kept")), "one")
    [environment] = (shelf.store.root / "items" / "environment").iterdir()
    keep_spare(shelf.store, environment.name, "3.13", [*(shelf.store.root / "items" / "wheel").iterdir()], [])

    collect_garbage(shelf.store)
    assert shelf.store.item("spare", environment.name).is_dir()
    assert verify(shelf.store) == []

    path.unlink()
    collect_garbage(shelf.store)
    assert shelf.items() == set()


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b'{"wheels": 1}', b"[" * 100_000, b"\xff"])
def test_a_record_that_is_damaged_in_any_way_is_found(opened: Shelf, content: bytes) -> None:
    image = put_in_store(opened.store, small_image())
    keep_spare(opened.store, "s" * 40, "3.13", [*(opened.store.root / "items" / "wheel").iterdir()], [])
    one(opened, "items/environment/*/made-of.json").write_bytes(content)
    one(opened, "items/spare/*/made-of.json").write_bytes(content)
    one(opened, "items/system/*/contents.json").write_bytes(content)
    (opened.store.item("pulled", bare(image)) / "layers.json").write_bytes(content)

    assert [problem.split("/")[1] for problem in problems(opened)] == [
        "pulled", "system", "environment", "spare"
    ]  # fmt: skip
    with opened.store.using([("environment", one(opened, "items/environment/*").name)]):
        collect_garbage(opened.store)


@pytest.mark.parametrize("kind", ["system", "wheel", "environment"])
def test_a_missing_file_is_found(opened: Shelf, kind: str) -> None:
    names = {"system": "tree/etc/motd", "wheel": f"{SITE}/one.py", "environment": f"{SITE}/two.py"}
    one(opened, f"items/{kind}/*/{names[kind]}").unlink()

    [problem] = problems(opened)

    assert problem.startswith(f"items/{kind}/")
    assert problem.endswith("is missing")


@pytest.mark.parametrize("kind", ["system", "wheel", "environment"])
def test_a_file_that_does_not_belong_is_found(opened: Shelf, kind: str) -> None:
    item = min((opened.store.root / "items" / kind).iterdir())
    (item / "tree" / "strange").touch()

    [problem] = problems(opened)

    assert "strange does not belong here" in problem


def test_bytecode_of_a_damaged_wheel_may_be_compiled_from_the_damage(opened: Shelf) -> None:
    source = one(opened, f"items/wheel/*/{SITE}/one.py")
    wheel = source.parents[4]

    def compiled(item: Path) -> None:
        (item / "tree").mkdir()
        write_contents(scan_tree(item / "tree"), item)
        (item / "wheel").write_text(wheel.name)

    bytecode = opened.store.make("bytecode", "compiled", compiled)
    flip(source)

    verify(opened.store, repair=True)

    assert not bytecode.exists()


def test_damaged_bytecode_condemns_the_environment_that_shares_it(opened: Shelf) -> None:
    wheel = one(opened, f"items/wheel/*/{SITE}/one.py").parents[4]

    def fill(item: Path) -> None:
        cache = item / SITE / "__pycache__"
        cache.mkdir(parents=True)
        (cache / "one.cpython-313.pyc").write_bytes(b"bytecode")
        (item / "wheel").write_text(wheel.name)
        write_contents(scan_tree(item / "tree"), item)

    bytecode = opened.store.make("bytecode", "k" * 40, fill)
    environment = min((opened.store.root / "items" / "environment").iterdir())
    add_bytecode(environment, [bytecode])
    assert verify(opened.store) == []
    flip(one(opened, f"items/environment/*/{SITE}/__pycache__/one.cpython-313.pyc"))

    found = problems(opened)

    assert [problem.split("/")[1] for problem in found] == ["bytecode", "environment"]


def test_a_damaged_wheel_that_was_built_is_found(opened: Shelf) -> None:
    package = opened.wheel("built")
    opened.store.make("built", "b" * 40, lambda item: _copy(opened, package, item))
    assert verify(opened.store) == []
    path = one(opened, "items/built/*/*.whl")
    path.write_bytes(path.read_bytes()[:-30])

    [problem] = problems(opened)

    assert problem == f"items/built/{'b' * 40}: {package.artifact.name} is damaged"


def test_repair_removes_what_is_damaged_and_nothing_else(opened: Shelf) -> None:
    flip(one(opened, f"items/wheel/*/{SITE}/one.py"))
    before = opened.items()

    found = verify(opened.store, repair=True)

    gone = before - opened.items()
    assert {problem.text.split(":")[0].rpartition("/")[2] for problem in found} == gone
    assert all(problem.removed for problem in found)
    assert len(gone) == 2
    assert verify(opened.store) == []
    assert list((opened.store.root / "tmp").iterdir()) == []


def test_verifying_changes_nothing_unless_told(opened: Shelf) -> None:
    flip(one(opened, "items/system/*/tree/etc/motd"))
    before = opened.items()

    assert verify(opened.store)
    assert opened.items() == before


def test_repair_leaves_what_a_process_uses(opened: Shelf) -> None:
    file = one(opened, "items/system/*/tree/etc/motd")
    flip(file)

    with opened.store.using([("system", file.parents[2].name)]):
        [problem] = verify(opened.store, repair=True)

    assert not problem.removed
    assert file.exists()
