"""The files that `hotdesk build -o` writes, in the hands of other tools, and desks opened from them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.oci.images import image as image_of_layers
from tests.oci.images import tree
from tests.support.commandline import Hotdesk
from tests.support.engines import docker_daemon, podman_storage
from tests.support.registry import docker_registry, require

from hotdesk.build.image import build_image
from hotdesk.build.image_root import open_image_root
from hotdesk.build.ownership import read_ownership
from hotdesk.errors import ImageError
from hotdesk.keys import Keys
from hotdesk.layers.contents import read_contents, scan_tree
from hotdesk.layers.debian import Ownership
from hotdesk.oci.layout import read_layout, write_layout
from hotdesk.oci.validate import problems
from hotdesk.project import find_project
from hotdesk.store import Store

if TYPE_CHECKING:
    from hotdesk.oci.model import Image

pytestmark = pytest.mark.integration

NAME = "desk:latest"
SUM = ("python", "-c", "import numpy; print(numpy.sum([1, 2]))")
_WRITE = """
import sys
from pathlib import Path
from hotdesk.oci.layout import read_layout, write_layout
write_layout(read_layout(Path(sys.argv[1])), Path(sys.argv[2]), "desk:latest")
"""


@dataclass(frozen=True)
class Files:
    """A project's image, and the two forms in which it is on disk."""

    project: Hotdesk
    image: Image
    archive: Path
    folder: Path


@pytest.fixture(scope="module")
def files(jupyter: Hotdesk, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("layouts")
    shutil.copytree(jupyter.folder, folder / "project")
    project = Hotdesk(folder / "project", jupyter.store, jupyter.data)
    project.run("build", timeout=600)
    built = build_image(Store(jupyter.store), find_project(project.folder).select(None), offline=True)
    write_layout([built], folder / "desk.tar", NAME)
    write_layout([built], folder / "desk", NAME)
    return Files(project, built, folder / "desk.tar", folder / "desk")


def output(*argv: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stderr}"
    return done.stdout


def test_skopeo_reads_every_form(files: Files, tmp_path: Path) -> None:
    require("skopeo")
    blobs = [layer.blob.descriptor.digest for layer in files.image.layers]
    diff_ids = [layer.diff_id for layer in files.image.layers]

    for place, layers in [
        (f"oci:{files.folder}:{NAME}", blobs),
        (f"oci-archive:{files.archive}:{NAME}", blobs),
        (f"docker-archive:{files.archive}", diff_ids),
    ]:
        assert json.loads(output("skopeo", "inspect", place))["Layers"] == layers
    output("skopeo", "copy", "--quiet", f"oci-archive:{files.archive}:{NAME}", f"oci:{tmp_path}/copy:{NAME}")
    (copied,) = read_layout(tmp_path / "copy")
    assert copied.manifest.descriptor.digest == files.image.manifest.descriptor.digest


def test_umoci_unpacks_what_the_sandbox_shows(files: Files, tmp_path: Path) -> None:
    """Path by path: bytes, mode, target of a link, owner."""
    require("umoci")
    if os.geteuid():
        pytest.skip("only root can give files to others, as umoci does")
    (found,) = read_layout(files.archive)
    store = Store(tmp_path / "store")
    with open_image_root(store, found.id, lambda: found) as root:
        item = root.system.parent
    ours = {entry.path: entry for entry in read_contents(item).entries}
    owners = read_ownership(item)

    output("umoci", "raw", "unpack", "--image", f"{files.folder}:{NAME}", f"{tmp_path}/rootfs")

    theirs = {entry.path: entry for entry in scan_tree(tmp_path / "rootfs").entries}
    assert theirs.keys() == ours.keys()
    for path, entry in theirs.items():
        status = (tmp_path / "rootfs" / path).lstat()
        owner = owners.get(path, Ownership(0, 0, ours[path].mode))
        assert (entry.content, entry.size) == (ours[path].content, ours[path].size), path
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (
            owner.uid,
            owner.gid,
            owner.mode,
        )
        assert int(status.st_mtime) == 315532800, path
    assert_like_the_sandbox(files, ours)


def assert_like_the_sandbox(files: Files, ours: dict[str, Any]) -> None:
    keys = Keys.of(find_project(files.project.folder).select(None))
    store = Store(files.project.store)
    system = scan_tree(store.item("system", keys.system) / "tree").entries
    environment = scan_tree(store.item("environment", keys.environment) / "tree").entries
    shown = {entry.path: entry for entry in system if not entry.path.startswith("opt/desk/")}
    shown |= {f"opt/desk/{entry.path}": entry for entry in environment}
    for path, entry in shown.items():
        assert (ours[path].content, ours[path].mode) == (entry.content, entry.mode), path
    assert {path for path in ours.keys() - shown.keys() if "/__pycache__" not in path} == set()


def test_docker_loads_the_archive(files: Files, tmp_path: Path) -> None:
    with docker_daemon(tmp_path) as environment:
        output("docker", "load", "--quiet", "--input", str(files.archive), environment=environment)

        (loaded,) = json.loads(output("docker", "inspect", NAME, environment=environment))
        said = output("docker", "run", "--rm", "--network=none", NAME, *SUM, environment=environment)
    assert loaded["Id"] == files.image.id
    assert loaded["RootFS"]["Layers"] == [layer.diff_id for layer in files.image.layers]
    assert said == "3\n"


def test_a_desk_opens_from_a_file_in_docker(files: Files, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with docker_daemon(tmp_path / "docker") as environment:
        desk = Hotdesk(tmp_path / "folder", tmp_path / "store", tmp_path / "data", environment)
        try:
            opened = desk.json("up", str(files.archive), "--engine", "docker")
            assert answers(opened["url"])
            assert files.image.id in output("docker", "images", "--no-trunc", environment=environment)
            desk.run("stop", "desk")
            assert answers(desk.json("start", "desk")["url"])
        finally:
            desk.try_("stop", "--all")


def test_podman_loads_the_archive(files: Files, tmp_path: Path) -> None:
    with podman_storage(tmp_path) as environment:
        output("podman", "load", "--quiet", "--input", str(files.archive), environment=environment)

        ids = output("podman", "images", "--no-trunc", "--format", "{{.Id}}", environment=environment)
    assert ids.split() == [files.image.id.removeprefix("sha256:")]


def test_the_files_are_verified_against_the_lock(files: Files) -> None:
    found = files.project.json("verify", str(files.archive))

    assert (found["problems"], found["differences"]) == ([], [])
    assert found["compared"] > 5000


def test_a_file_that_was_changed_in_the_image_is_named(files: Files, tmp_path: Path) -> None:
    module = "opt/desk/lib/python3.13/site-packages/numpy/__init__.py"
    changed = image_of_layers(*files.image.layers, tree({module: b"import evil\n"}))
    write_layout([changed], tmp_path / "changed.tar", NAME)

    done = files.project.try_("verify", str(tmp_path / "changed.tar"), "--variant", "default")

    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "numpy/__init__.py" in line]
    assert f"/{module} is not as in numpy" in line


def test_a_desk_opens_from_a_file_with_no_spec_at_hand(files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.link(files.archive, folder / "desk.tar")
    desk = Hotdesk(folder, tmp_path / "store", tmp_path / "data")
    try:
        opened = desk.json("up", "./desk.tar")
        assert (opened["name"], opened["already"]) == ("desk", False)
        assert answers(opened["url"])
        assert desk.json("up", "./desk.tar")["already"]
        desk.run("stop")
        (folder / "desk.tar").unlink()  # what was unpacked is enough
        desk.run("cache", "gc")
        assert desk.run("cache", "verify") == "everything is as it was made\n"
        assert answers(desk.json("start", "desk")["url"])
        desk.run("stop")
        (tree,) = (tmp_path / "store/items/unpacked").iterdir()
        tree.rename(tmp_path / "away")
        assert "there is no such file or folder" in desk.try_("start", "desk").stderr
        (tmp_path / "away").rename(tree)
        desk.run("rm", "desk")
        desk.run("cache", "gc")
        assert not tree.exists()
    finally:
        desk.try_("stop", "--all")


def test_a_desk_opens_from_a_registry(files: Files, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "registry").mkdir()
    desk = Hotdesk(tmp_path / "folder", tmp_path / "store", tmp_path / "data")
    with docker_registry(tmp_path / "registry") as registry:
        reference = f"{registry.host}/course/term1:1"
        files.project.run("push", reference)
        try:
            opened = desk.json("up", reference)
            assert (opened["name"], opened["variant"]) == ("term1", reference)
            assert answers(opened["url"])
            assert desk.json("image", reference, "--offline")["id"] == files.image.id
        finally:
            desk.try_("stop", "--all")
    try:
        assert answers(desk.json("start", "term1", "--offline")["url"])
        assert desk.json("up", reference, "--offline")["already"]
    finally:
        desk.try_("stop", "--all")


def answers(url: str) -> bool:
    with urllib.request.urlopen(url) as page:
        return page.status == 200 and b"JupyterLab" in page.read()


@pytest.mark.parametrize("name", ["desk.tar", "desk"])
def test_a_kill_while_it_is_written_leaves_nothing_half_done(files: Files, tmp_path: Path, name: str) -> None:
    chance = random.Random(20261123)
    argv = [sys.executable, "-c", _WRITE, str(files.archive), str(tmp_path / name)]
    whole = _seconds(argv)
    _remove(tmp_path / name)
    killed = 0
    for _ in range(12):
        began = time.monotonic()
        process = subprocess.Popen(argv, start_new_session=True)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.1, 0.9) * whole)
            whole = time.monotonic() - began  # what was read from the disk before is in memory now
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        with suppress(ImageError):
            (found,) = read_layout(tmp_path / name)
            assert problems(found) == []
            _remove(tmp_path / name)
        if killed == 3:
            break
    assert killed > 0

    subprocess.run(argv, check=True)

    (found,) = read_layout(tmp_path / name)
    assert problems(found) == []
    left = [path.name for path in tmp_path.rglob("*") if path.name.endswith(".partial")]
    assert left == []


def _seconds(argv: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(argv, check=True)
    return time.monotonic() - began


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
