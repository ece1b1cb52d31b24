"""A desk on an image from a registry: locked, opened, built, and the same in the sandbox and in an engine."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.layers.debs import directory, member, write_deb
from tests.support.commandline import Hotdesk
from tests.support.registry import DockerRegistry, registry, require

from hotdesk.build.changes import read_changes
from hotdesk.build.on_image import SystemOnImage
from hotdesk.build.ownership import read_ownership
from hotdesk.layers.contents import scan_tree
from hotdesk.layers.debian import Ownership
from hotdesk.lock import Artifact, DebianPackage, read_lock
from hotdesk.lock_base import LockedBase
from hotdesk.oci.layout import write_layout
from hotdesk.oci.model import LAYER, Blob, Image, Layer, digest_of, image_of
from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import parse_reference
from hotdesk.oci.unpack import unpack
from hotdesk.store import Store

if TYPE_CHECKING:
    from hotdesk.engines.request import Root

__all__ = ["registry"]

pytestmark = pytest.mark.integration

AMD, ARM = "linux/amd64", "linux/arm64"
SPEC = """\
[desk]
name = "onbase"
python = "3.13"
base = "oci:{}/team/base:1"

[packages]
pypi = ["six"]
debian = ["tree"]
"""


def layer_of(tree: Path, archive: Path) -> Layer:
    """The whole of a tree as root's, as anybody would pack it."""

    def as_roots(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(archive, "w") as tar:
        tar.add(tree, ".", filter=as_roots)
    content = archive.read_bytes()
    media_type = LAYER.removesuffix("+gzip")
    return Layer(
        Blob.of(content, media_type), digest_of(content), len(content), lambda: iter((content,)), "tests"
    )


@pytest.fixture(scope="module")
def base(desk_root: Root, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """A Debian system as an image, and one that says of itself that it is for another processor."""
    folder = tmp_path_factory.mktemp("base")
    layer = layer_of(desk_root.system, folder / "base.tar")
    status = (desk_root.system / "var/lib/dpkg/status").read_text()
    (folder / "arm/var/lib/dpkg").mkdir(parents=True)
    (folder / "arm/var/lib/dpkg/status").write_text(
        status.replace("Architecture: amd64\n", "Architecture: arm64\n")
    )
    other = layer_of(folder / "arm", folder / "arm.tar")
    settings = {"Env": ["FROM_THE_IMAGE=1"], "Entrypoint": ["/bin/false"]}
    return {
        AMD: image_of(AMD, settings, [layer]),
        ARM: image_of(ARM, settings, [layer, other]),
    }


def push_with_skopeo(image: Image, registry: DockerRegistry, tag: str, folder: Path) -> None:
    require("skopeo")
    write_layout([image], folder / "layout", "base")
    source, target = f"oci:{folder}/layout:base", f"docker://{registry.host}/team/base:{tag}"
    command = ["skopeo", "copy", "--dest-tls-verify=false", source, target]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def locked(
    base: dict[str, Image],
    registry: DockerRegistry,
    session_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Hotdesk:
    """A project on that image, locked for both processors."""
    store = Store(tmp_path_factory.mktemp("pushing") / "store")
    push(store, [*base.values()], parse_reference(f"{registry.host}/team/base:1"))
    folder = tmp_path_factory.mktemp("project")
    (folder / "hotdesk.toml").write_text(SPEC.format(registry.host))
    desk = Hotdesk(folder, session_store, tmp_path_factory.mktemp("desks"))
    desk.run("lock")
    return desk


@pytest.fixture(scope="module")
def built(locked: Hotdesk) -> dict[str, object]:
    return dict(locked.json("build", timeout=600))


def test_the_lock_pins_the_image_of_each_processor_and_names_no_registry(
    locked: Hotdesk, base: dict[str, Image], registry: DockerRegistry
) -> None:
    text = (locked.folder / "hotdesk.lock").read_text()
    lock = read_lock(locked.folder / "hotdesk.lock")

    assert registry.host not in text
    for platform, image in base.items():
        found = lock.platforms[platform].base
        assert found
        assert len(found.layers) == len(image.layers)
        assert found.config.digest == image.id
        assert (found.release, found.python.rpartition(".")[0]) == ("debian:trixie", "3.13")
        assert [package.name for package in lock.platforms[platform].debian] == ["tree"]
    assert locked.run("lock", "--check")


def test_a_command_runs_on_it_with_what_was_installed(locked: Hotdesk) -> None:
    shown = locked.run("run", "--", "sh", "-c", "python -c 'import six' && tree --version; env; dpkg --audit")

    assert "tree v" in shown
    assert "FROM_THE_IMAGE" not in shown


def test_two_builds_from_empty_stores_give_one_image_and_garbage_collection_keeps_its_parts(
    locked: Hotdesk, built: dict[str, object], tmp_path: Path
) -> None:
    shutil.copytree(locked.folder, tmp_path / "another folder")
    (tmp_path / "another folder/hotdesk.lock").write_text(without_images(locked.folder / "hotdesk.lock"))
    elsewhere = Hotdesk(tmp_path / "another folder", tmp_path / "store", tmp_path / "data")

    assert elsewhere.json("build", timeout=600) == built
    elsewhere.run("cache", "gc")
    elsewhere.run("cache", "verify")
    assert elsewhere.json("build", "--offline") == built


def without_images(lock: Path) -> str:
    return json.dumps(json.loads(lock.read_text()) | {"images": {}})


def test_its_layers_are_the_bases_and_what_comes_on_top(
    built: dict[str, object], base: dict[str, Image]
) -> None:
    layers = built["layers"]

    assert isinstance(layers, list)
    assert layers[0]["diff_id"] == base[AMD].layers[0].diff_id
    assert [layer["holds"].split()[0] for layer in layers[1:]] == ["oci:team/base:1:", "Python", "six"]
    assert sum(layer["size"] for layer in layers[1:]) < layers[0]["size"] / 10


def test_another_tool_unpacks_what_the_sandbox_shows(
    locked: Hotdesk, built: dict[str, object], registry: DockerRegistry, tmp_path: Path
) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    require("umoci")
    require("skopeo")
    locked.run("push", f"{registry.host}/team/desk:1")
    source = f"docker://{registry.host}/team/desk:1"
    copy = ["skopeo", "copy", "--src-tls-verify=false", source, f"oci:{tmp_path}/layout:desk"]
    subprocess.run(copy, check=True, capture_output=True)
    unpacked = ["umoci", "unpack", "--image", f"{tmp_path}/layout:desk", str(tmp_path / "bundle")]
    subprocess.run(unpacked, check=True, capture_output=True)
    rootfs = tmp_path / "bundle/rootfs"
    shutil.rmtree(rootfs / "opt/desk")
    (rootfs / "opt/desk").mkdir()

    system = system_of(locked)

    assert {entry.path: entry.content for entry in scan_tree(rootfs).entries} == {
        entry.path: entry.content for entry in scan_tree(system / "tree").entries
    }
    for path, owner in read_ownership(system).items():
        status = (rootfs / path).lstat()
        if not stat.S_ISLNK(status.st_mode):
            assert Ownership(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == owner, path


def system_of(desk: Hotdesk) -> Path:
    from hotdesk.keys import Keys

    lock = read_lock(desk.folder / "hotdesk.lock")
    return Store(desk.store).item("system", Keys.of(lock.select(AMD, "default")).system)


def test_a_tag_that_moved_is_followed_by_an_upgrade_alone(
    locked: Hotdesk, base: dict[str, Image], registry: DockerRegistry, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(locked.folder, folder)
    spec = (folder / "hotdesk.toml").read_text().replace("base:1", "base:moving")
    (folder / "hotdesk.toml").write_text(spec)
    desk = Hotdesk(folder, locked.store, locked.data)
    push_with_skopeo(base[AMD], registry, "moving", tmp_path)
    desk.run("lock")
    first = read_lock(folder / "hotdesk.lock").platforms[AMD].base
    (tmp_path / "more/etc").mkdir(parents=True)
    (tmp_path / "more/etc/more").write_text("more")
    more = layer_of(tmp_path / "more", tmp_path / "more.tar")
    shutil.rmtree(tmp_path / "layout")
    push_with_skopeo(image_of(AMD, {}, [*base[AMD].layers, more]), registry, "moving", tmp_path)

    desk.run("add", "idna")
    kept = read_lock(folder / "hotdesk.lock").platforms[AMD].base
    desk.run("lock", "--upgrade")
    newer = read_lock(folder / "hotdesk.lock").platforms[AMD].base

    assert isinstance(first, LockedBase)
    assert isinstance(newer, LockedBase)
    assert kept == first
    assert newer.layers[:-1] == first.layers


def package(path: Path) -> DebianPackage:
    artifact = Artifact("debian", "debian", "pool/main/s/small/small_1_amd64.deb", 1, "0" * 64)
    return DebianPackage("small", "1", "amd64", artifact, ("default",))


def test_an_older_package_of_the_image_is_replaced_as_dpkg_does(
    base: dict[str, Image], tmp_path: Path
) -> None:
    """Files that are gone, a configuration that was edited, owners and modes of the newer one."""
    old = write_deb(
        tmp_path / "old.deb",
        [
            member("./etc/small.conf", b"as shipped\n"),
            member("./usr/bin/small", b"1", mode=0o755),
            directory("./usr/lib/small"),
            member("./usr/lib/small/old", b"old"),
        ],
        files={"conffiles": b"/etc/small.conf\n"},
        Version="1",
    )
    new = write_deb(
        tmp_path / "new.deb",
        [
            member("./etc/small.conf", b"as shipped now\n"),
            member("./usr/bin/small", b"2", mode=0o4755, gid=8),
            directory("./var/lib/small", 0o2775),
            member("./var/lib/small/data", b"x"),
        ],
        files={
            "conffiles": b"/etc/small.conf\n",
            "postinst": b"#!/bin/sh\nchown man /var/lib/small/data\ntouch /etc/edited-by-hand\n",
        },
        Version="2",
    )
    first = install(base[AMD], old, tmp_path / "first")
    (first / "tree/etc/small.conf").write_text("edited\n")
    image = image_of(AMD, {}, [layer_of(first / "tree", tmp_path / "first.tar")])

    second = install(image, new, tmp_path / "second")

    changes = read_changes(second)
    assert changes
    assert changes.removed == ("usr/lib/small",)
    assert (second / "tree/etc/small.conf").read_text() == "edited\n"
    assert (second / "tree/usr/bin/small").read_text() == "2"
    assert stat.S_IMODE((second / "tree/usr/bin/small").stat().st_mode) == 0o755
    owners = read_ownership(second)
    assert owners["usr/bin/small"] == Ownership(0, 8, 0o4755)
    assert owners["var/lib/small"] == Ownership(0, 0, 0o2775)
    assert owners["var/lib/small/data"] == Ownership(6, 0, 0o644)
    assert {"usr/bin/small", "var/lib/dpkg/status", "etc/edited-by-hand"} <= set(changes.changed)
    assert len(changes.changed) < 40
    assert not any(path.startswith("usr/lib/python") for path in changes.changed)


def install(image: Image, deb: Path, folder: Path) -> Path:
    folder.mkdir()
    system = SystemOnImage(folder, image)
    system.unpack(package(deb), deb)
    system.configure()
    return folder


def test_the_image_and_the_layer_are_the_system(base: dict[str, Image], tmp_path: Path) -> None:
    """Even where a package takes away what the image has."""
    from hotdesk.build.recipe import Recipe
    from hotdesk.oci.layer import tar_chunks

    deb = write_deb(
        tmp_path / "small.deb",
        [member("./usr/share/small", b"x")],
        files={"postinst": b"#!/bin/sh\nrm -r /usr/share/doc/bash /usr/share/doc/dash\nrm /etc/issue\n"
               b"mkdir /etc/issue\n: > /usr/share/doc/dash\n"},
    )  # fmt: skip
    system = install(base[AMD], deb, tmp_path / "system")
    archive = b"".join(tar_chunks(Recipe("3.13", system="system").members(tmp_path)))
    layer = Layer(
        Blob.of(archive, LAYER.removesuffix("+gzip")),
        digest_of(archive),
        len(archive),
        lambda: iter((archive,)),
        "",
    )
    (tmp_path / "stacked").mkdir()

    unpack(image_of(AMD, {}, [*base[AMD].layers, layer]), tmp_path / "stacked")

    assert scan_tree(tmp_path / "stacked") == scan_tree(system / "tree")
