"""An image is what the sandbox shows, in layers that follow from the lock, and is measured once."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import os
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.layers.wheelhouse import WHEEL, write_wheel

from hotdesk.build.environment import EnvironmentBuild
from hotdesk.build.image import build_image, locked_image, settings_of, verify_image
from hotdesk.build.ownership import write_ownership
from hotdesk.cache import verify
from hotdesk.errors import EngineError, ImageError, StoreError
from hotdesk.keys import IMAGE_FORMAT, Keys
from hotdesk.layers.contents import scan_tree, write_contents
from hotdesk.layers.debian import Ownership
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.lock import Artifact, LockedVariant, PythonPackage
from hotdesk.oci.model import image_of
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotdesk.oci.model import Image

PYTHON = "3.13"
SITE = f"lib/python{PYTHON}/site-packages"
Files = dict[str, bytes]


class Shelf:
    """A store that has all parts of a small desk: a base system, wheels, and bytecode that is no real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")

    def desk(self, wheels: Sequence[Files], layers: Sequence[int] = ()) -> LockedVariant:
        """The lock of wheels named w0, w1, …, in these layers, else each in its own."""
        numbers = layers or range(len(wheels))
        packages = [
            self.package(f"w{number}", files, layer)
            for number, (files, layer) in enumerate(zip(wheels, numbers, strict=True))
        ]
        ordered = tuple(sorted(packages, key=lambda package: (package.layer, package.name)))
        locked = LockedVariant("cpu", "linux/amd64", PYTHON, "debian:trixie", "20260101T000000Z", (), ordered)
        locked = replace(locked, platform="linux/amd64", variant="cpu")
        keys = Keys.of(locked)
        self.store.make("system", keys.system, _system)
        for package, key, bytecode in zip(locked.pypi, keys.wheels, keys.bytecode, strict=True):
            self.store.make("bytecode", bytecode, partial(self.compiled, key, package.name))
        return locked

    def package(self, name: str, files: Files, layer: int) -> PythonPackage:
        file = self.folder / f"{name}-1-py3-none-any.whl"
        placed = {path.replace("DATA", f"{name}-1.data/data"): content for path, content in files.items()}
        write_wheel(file, {f"{name}-1.dist-info/WHEEL": WHEEL, **placed})
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        artifact = Artifact("pypi", name, file.name, file.stat().st_size, sha256)
        place = self.store.download(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.rename(place)
        make_wheel_tree(self.store, place, sha256, PYTHON, artifact.name)
        return PythonPackage(name, "1", artifact, ("cpu",), layer)

    def compiled(self, key: str, name: str, item: Path) -> None:
        tree = item / "tree"
        tree.mkdir()
        for module in (self.store.item("wheel", key) / "tree").rglob("*.py"):
            inside = module.relative_to(self.store.item("wheel", key) / "tree")
            pyc = tree / inside.parent / "__pycache__" / f"{inside.stem}.cpython-313.pyc"
            pyc.parent.mkdir(parents=True, exist_ok=True)
            pyc.write_bytes(name.encode() + module.read_bytes())
        write_contents(scan_tree(tree), item)
        (item / "wheel").write_text(key)

    def environment(self, locked: LockedVariant) -> dict[str, tuple[object, ...]]:
        """What the sandbox would show at /opt/desk."""
        item = self.folder / f"environment{next(_numbers)}"
        item.mkdir()
        keys = Keys.of(locked)
        build = EnvironmentBuild(item, PYTHON)
        wheels = [self.store.item("wheel", key) for key in keys.wheels]
        for wheel in wheels:
            build.link(wheel)
        build.finish(wheels, [self.store.item("bytecode", key) for key in keys.bytecode])
        return on_disk(item / "tree")


_numbers = itertools.count()


def _system(item: Path) -> None:
    tree = item / "tree"
    for folder in ("usr/bin", "var/mail", "home/desk", "opt/desk"):
        (tree / folder).mkdir(parents=True)
    (tree / "usr/bin/su").write_bytes(b"#!")
    (tree / "usr/bin/su").chmod(0o755)
    (tree / "bin").symlink_to("usr/bin")
    for path in (tree, *tree.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    owners = {
        "usr/bin/su": Ownership(0, 0, 0o4755),
        "var/mail": Ownership(0, 8, 0o2775),
        "home/desk": Ownership(1000, 1000, 0o755),
    }
    write_ownership(owners, item)
    write_contents(scan_tree(tree), item)


def on_disk(tree: Path) -> dict[str, tuple[object, ...]]:
    return {entry.path: (entry.mode, entry.content) for entry in scan_tree(tree).entries}


def unpacked(image: Image, below: str = "") -> dict[str, tuple[object, ...]]:
    """What an engine makes of the layers, one over the other: mode and content by path, without owners."""
    found: dict[str, tuple[object, ...]] = {}
    for layer in image.layers:
        blob = b"".join(layer.blob.chunks())
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == layer.blob.descriptor.digest
        tar = b"".join(layer.tar_chunks())
        assert f"sha256:{hashlib.sha256(tar).hexdigest()}" == layer.diff_id
        assert gzip.decompress(blob) == tar
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for member in archive.getmembers():
                found[member.name] = member.mode, _content(archive, member)
    return {path[len(below) :]: value for path, value in found.items() if path.startswith(below)}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.isdir():
        return "directory"
    if member.issym():
        return f"link:{member.linkname}"
    content = archive.extractfile(member)
    assert content
    return f"sha256:{hashlib.sha256(content.read()).hexdigest()}"


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_the_layers_are_the_system_the_empty_environment_and_the_plans_groups(shelf: Shelf) -> None:
    locked = shelf.desk([{"a.py": b"a"}, {"b.py": b"b"}, {"c.py": b"c"}], layers=[1, 0, 1])

    image = build_image(shelf.store, locked)

    holds = [layer.history for layer in image.layers]
    assert holds[0].startswith("debian:trixie")
    assert holds[2:] == ["w1 1", "w0 1, w2 1"]


def test_special_modes_and_owners_of_the_system_are_in_the_image(shelf: Shelf) -> None:
    image = build_image(shelf.store, shelf.desk([{"a.py": b"a"}]))

    with tarfile.open(fileobj=io.BytesIO(b"".join(image.layers[0].tar_chunks()))) as archive:
        found = {member.name: (member.uid, member.gid, member.mode) for member in archive.getmembers()}

    assert found["usr/bin/su"] == (0, 0, 0o4755)
    assert found["var/mail"] == (0, 8, 0o2775)
    assert found["home/desk"] == (1000, 1000, 0o755)
    assert found["usr"] == (0, 0, 0o755)


def test_what_was_measured_is_not_measured_again(shelf: Shelf) -> None:
    wheels = [{"a.py": b"a"}, {"b.py": b"b"}]
    first = build_image(shelf.store, shelf.desk(wheels))
    more = shelf.desk([*wheels, {"c.py": b"c"}])
    # Were their parts read again, this would fail.
    for layer in first.layers[2:]:
        name = layer.history.split()[0]
        [package] = [package for package in more.pypi if package.name == name]
        shelf.store.download(package.artifact.sha256).write_bytes(b"gone")

    second = build_image(shelf.store, more)

    assert [layer.diff_id for layer in second.layers[:-1]] == [layer.diff_id for layer in first.layers]
    assert second.id != first.id


def test_another_image_than_the_lock_knows_is_refused_with_the_file_that_differs(shelf: Shelf) -> None:
    locked = shelf.desk([{"a.py": b"a"}, {"b.py": b"b", "c.py": b"c"}])
    build_image(shelf.store, locked)
    known = replace(locked, image=locked_image(shelf.store, locked))
    assert build_image(shelf.store, known).id
    shelf.store.remove("image", Keys.of(locked).image)
    item = shelf.store.item("bytecode", Keys.of(locked).bytecode[1])
    [pyc] = item.rglob("c.cpython-313.pyc")
    pyc.write_bytes(b"another compiler's")
    write_contents(scan_tree(item / "tree"), item)

    with pytest.raises(ImageError) as raised:
        build_image(shelf.store, known)

    assert "layer 4 (w1 1" in raised.value.why
    assert "opt/desk/lib/python3.13/site-packages/__pycache__/c.cpython-313.pyc" in raised.value.why


def test_a_part_that_was_damaged_since_is_not_packed(shelf: Shelf) -> None:
    locked = shelf.desk([{"a.py": b"a"}])
    [pyc] = shelf.store.item("bytecode", Keys.of(locked).bytecode[0]).rglob("*.pyc")
    pyc.write_bytes(b"xxx")

    with pytest.raises(StoreError, match="is not what it was made to be"):
        build_image(shelf.store, locked)


def test_what_changed_after_it_was_measured_is_found_while_it_is_streamed(shelf: Shelf) -> None:
    image = build_image(shelf.store, shelf.desk([{"a.txt": b"x" * 3000}]))
    [download] = (shelf.store.root / "downloads").iterdir()
    content = bytearray(download.read_bytes())
    content[content.index(b"a.txt") + len("a.txt") + 3] ^= 1
    download.write_bytes(content)

    with pytest.raises(StoreError, match="w0 1 is not what was measured"):
        list(image.layers[2].blob.chunks())


def test_parts_that_are_gone_are_made_again(shelf: Shelf) -> None:
    """Nothing can be fetched or compiled here, so that it tries is what can be seen."""
    locked = shelf.desk([{"a.py": b"a"}])
    build_image(shelf.store, locked)
    shelf.store.remove("bytecode", Keys.of(locked).bytecode[0])

    with pytest.raises(EngineError, match="could not compile"):
        build_image(shelf.store, locked)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "3",
        "{}",
        *(f'{{"format": {IMAGE_FORMAT}, "layers": {layers}}}' for layers in ("[]", "[[{}, {}]]", "[1]", "1")),
    ],
)
def test_a_damaged_record_of_an_image_stops_no_other_and_is_found(shelf: Shelf, content: str) -> None:
    locked = shelf.desk([{"a.py": b"a"}])
    build_image(shelf.store, locked)
    item = shelf.store.item("image", Keys.of(locked).image)
    (item / "image.json").write_text(content)

    assert build_image(shelf.store, shelf.desk([{"a.py": b"a"}, {"b.py": b"b"}])).id
    assert verify(shelf.store)


@pytest.mark.parametrize("content", ['[[{"writer": 1}, {}]]', '{"format": 1000, "layers": {}}'])
def test_a_record_of_another_hotdesk_is_no_damage_and_is_not_used(shelf: Shelf, content: str) -> None:
    locked = shelf.desk([{"a.py": b"a"}])
    image = build_image(shelf.store, locked)
    other = shelf.store.item("image", "0" * 40)
    other.mkdir()
    (other / "image.json").write_text(content)

    assert verify(shelf.store) == []
    assert build_image(shelf.store, locked).id == image.id
    assert build_image(shelf.store, shelf.desk([{"a.py": b"a"}, {"b.py": b"b"}])).id != image.id


def test_too_many_layers_are_refused(shelf: Shelf) -> None:
    locked = shelf.desk([{"a.py": b"a"}])
    image = build_image(shelf.store, locked)

    with pytest.raises(ImageError, match="would have 101 layers"):
        image_of("linux/amd64", {}, [image.layers[1]] * 101)


def test_verifying_reads_everything_again(shelf: Shelf) -> None:
    locked = shelf.desk([{"a.py": b"a"}, {"b.py": b"b"}])
    build_image(shelf.store, locked)
    item = shelf.store.item("image", Keys.of(locked).image)
    assert verify_image(shelf.store, item) == []
    text = (item / "image.json").read_text()
    (item / "image.json").write_text(text.replace('"size": ', '"size": 1'))

    assert verify_image(shelf.store, item) == [
        f"layer {number} is not what was measured" for number in (1, 2, 3, 4)
    ]


def test_plain_docker_run_is_thought_of(shelf: Shelf) -> None:
    locked = shelf.desk([{"a.py": b""}])

    settings = settings_of(locked)

    assert settings["User"] == "1000:1000"
    assert settings["ExposedPorts"] == {"8888/tcp": {}}
    assert settings["WorkingDir"] == "/home/desk/work"
    assert "HOME=/home/desk" in settings["Env"]
    assert settings["Cmd"][:2] == ["/bin/sh", "-c"]


MEMBERS = st.dictionaries(
    st.sampled_from(
        ["x.py", "p/x.py", "p/q/y.py", "z.txt", "__pycache__/x.cpython-313.pyc", "DATA/x.py", "DATA/bin/z"]
    ),
    st.sampled_from([b"1", b"2"]),
    max_size=3,
)


@given(st.lists(st.tuples(MEMBERS, st.integers(0, 2)), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_engine_shows_what_the_sandbox_shows_whoever_shares_what(
    tmp_path_factory: pytest.TempPathFactory, wheels: list[tuple[Files, int]]
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    locked = shelf.desk([files for files, _ in wheels], [layer for _, layer in wheels])

    image = build_image(shelf.store, locked)

    assert unpacked(image, "opt/desk/") == shelf.environment(locked)


def test_identity_is_the_locks_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels: list[Files] = [{"a.py": b"a", "b/c.py": b"b"}, {"d.py": b"d"}]
    one = Shelf(tmp_path)
    first = build_image(one.store, one.desk(wheels))
    other = tmp_path / "another place"
    other.mkdir()
    before = os.umask(0o077)
    try:
        monkeypatch.setenv("TZ", "Pacific/Kiritimati")
        shelf = Shelf(other)
        second = build_image(shelf.store, shelf.desk(wheels))
    finally:
        os.umask(before)

    assert (first.id, first.manifest.descriptor.digest) == (second.id, second.manifest.descriptor.digest)
    assert first.id == "sha256:dcdfc85f6eb1d3a949fc5d36c24af7a07fcc5cdeb46abfd5b717c0685a5cfaa3"
