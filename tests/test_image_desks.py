from __future__ import annotations

from pathlib import Path

import pytest
from tests.oci.images import image, tree

from hotdesk.errors import ImageError, NotCachedError, UsageError
from hotdesk.image_desks import Source, find_source, read_image
from hotdesk.oci.layout import write_layout
from hotdesk.opening import Preparation
from hotdesk.project import host_platform
from hotdesk.store import Store

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

    found, _ = read_image(Source(tmp_path / "desk.tar"), Store(tmp_path / "store"), OFFLINE)

    assert found.platform == host_platform()


def test_an_image_for_other_machines_is_explained(tmp_path: Path) -> None:
    write_layout([image(tree({"a": b""}), platform="linux/riscv64")], tmp_path / "desk.tar", "desk:latest")

    with pytest.raises(ImageError) as caught:
        read_image(Source(tmp_path / "desk.tar"), Store(tmp_path / "store"), OFFLINE)

    assert "linux/riscv64" in caught.value.why


def test_offline_nothing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(NotCachedError) as caught:
        read_image(Source(reference="registry.example/desk:1"), Store(tmp_path / "store"), OFFLINE)

    assert "hotdesk pull" in caught.value.hint
