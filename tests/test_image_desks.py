from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.oci.images import image, tree
from tests.support.images import small_image
from tests.support.network import home
from tests.support.small_registry import SmallRegistry, registry

from hotdesk.cache import collect_garbage
from hotdesk.desk import Owner, claim, desks, find
from hotdesk.desk.folder import write_desk
from hotdesk.engines.request import LoadedImage
from hotdesk.errors import EngineError, ImageError, NotCachedError, UsageError
from hotdesk.image_desks import Source, find_source, open_image_desk, read_image, reopen_image_desk
from hotdesk.keys import IMAGE_NAME
from hotdesk.oci.layout import write_layout
from hotdesk.oci.pulled import bare
from hotdesk.oci.registry.pull import pull
from hotdesk.oci.registry.push import push
from hotdesk.oci.registry.reference import parse_reference
from hotdesk.opening import Preparation
from hotdesk.project import host_platform
from hotdesk.store import Store

if TYPE_CHECKING:
    from hotdesk.engines.request import ContainerEngineName

__all__ = ["home", "registry"]

OFFLINE = Preparation(offline=True)


def test_files_folders_and_references_are_told_apart(tmp_path: Path) -> None:
    write_layout([image(tree({"a": b""}))], tmp_path / "desk.tar", "desk:latest")
    write_layout([image(tree({"a": b""}))], tmp_path / "desk", "desk:latest")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/hotdesk.toml").write_text("")

    assert find_source("desk.tar", tmp_path) == Source(tmp_path / "desk.tar")
    assert find_source("./desk", tmp_path) == Source(tmp_path / "desk")
    assert find_source("registry.example/team/desk:1", tmp_path) == Source(
        reference="registry.example/team/desk:1"
    )
    for other in ("project", "sdcnd-term1", "nothing", "./nothing", "/nothing/here", "."):
        assert find_source(other, tmp_path) is None


def test_a_reference_without_a_host_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no reference to an image"):
        find_source("team/desk", tmp_path)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Source(Path("/x/desk.tar")), "desk"),
        (Source(Path("/x/My desk (2).tar")), "My-desk-2"),
        (Source(Path("/x/...")), "desk"),
        (Source(reference="registry.example:5000/team/term1:v2"), "term1"),
        (Source(reference=f"registry.example/term1@sha256:{'0' * 64}"), "term1"),
    ],
)
def test_a_desk_is_named_after_its_image(source: Source, name: str) -> None:
    assert source.name == name


def test_the_image_for_this_machine_is_chosen(tmp_path: Path) -> None:
    held = [image(tree({"a": b""}), platform=name) for name in ("linux/riscv64", host_platform())]
    write_layout(held, tmp_path / "desk.tar", "desk:latest")

    with read_image(Source(tmp_path / "desk.tar"), Store(tmp_path / "store"), OFFLINE) as (found, _):
        assert found.platform == host_platform()


def test_an_image_for_other_machines_is_explained(tmp_path: Path) -> None:
    write_layout([image(tree({"a": b""}), platform="linux/riscv64")], tmp_path / "desk.tar", "desk:latest")

    with pytest.raises(ImageError) as caught:
        _read(Source(tmp_path / "desk.tar"), Store(tmp_path / "store"))

    assert "linux/riscv64" in caught.value.why


def test_offline_nothing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotCachedError) as caught:
        _read(Source(reference="registry.example/desk:1"), Store(tmp_path / "store"))

    assert "hotdesk pull" in caught.value.hint


def _read(source: Source, store: Store) -> None:
    with read_image(source, store, OFFLINE):
        pass


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, with a store and no desks; nothing is installed."""
    for variable, name in (("HOTDESK_DATA", "data"), ("HOTDESK_STORE", "store"), ("PATH", "programs")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "project").mkdir()
    return tmp_path


@pytest.mark.parametrize("how", ["by its tag", "by its digest", "offline"])
def test_a_collection_leaves_alone_what_is_read(
    user: Path, home: Path, registry: SmallRegistry, how: str
) -> None:
    pushed = small_image(platform=host_platform())
    push(Store(user / "another"), [pushed], parse_reference(f"{registry.host}/desk:1"))
    store = Store(user / "store")
    digest = pull(store, parse_reference(f"{registry.host}/desk:1"), host_platform()).digest
    name = f"{registry.host}/desk@{digest}" if how == "by its digest" else f"{registry.host}/desk:1"

    with read_image(Source(reference=name), store, Preparation(offline=how == "offline")) as (image, found):
        collect_garbage(store)
        assert [b"".join(layer.blob.chunks()) for layer in image.layers] == [
            b"".join(layer.blob.chunks()) for layer in pushed.layers
        ]

    assert found == Source(reference=f"{registry.host}/desk{'' if 'digest' in how else ':1'}@{digest}")
    collect_garbage(store)
    assert not store.item("pulled", bare(digest)).exists()


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_missing_engine_is_told_before_anything_is_pulled(
    user: Path, home: Path, registry: SmallRegistry, engine: ContainerEngineName
) -> None:
    source = Source(reference=f"{registry.host}/desk:1")

    with pytest.raises(EngineError, match="is not installed"):
        open_image_desk(source, user / "project", Preparation(engine=engine))

    assert registry.requests == []
    assert desks() == []


def test_a_missing_engine_is_told_before_anything_is_pulled_again(
    user: Path, home: Path, registry: SmallRegistry
) -> None:
    desk = claim("mine", Owner(user / "project", "image"), fixed=True)
    write_desk(replace(desk, root=LoadedImage("docker", "sha256:ab"), labels={"port": "8888"}))
    (desk.folder / "keep").mkdir()
    kept = {"id": "sha256:ab", "reference": f"{registry.host}/desk:1"}
    (desk.folder / "keep" / IMAGE_NAME).write_text(json.dumps(kept))

    with pytest.raises(EngineError, match="is not installed"):
        reopen_image_desk(find("mine"), Preparation())

    assert registry.requests == []
