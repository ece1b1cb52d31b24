"""Packages built in a real sandbox, on this machine's own Python, without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.resolve.index_folder import add_wheel, settings_for
from tests.resolve.sdist_folder import add_sdist

from hotdesk.build.sdist import (
    Workshop,
    build_requirements,
    build_wheel,
    built_wheel,
    more_build_requirements,
)
from hotdesk.errors import BuildRequiredError, HashMismatchError
from hotdesk.lock import Artifact, Build, PythonPackage
from hotdesk.progress import SILENT
from hotdesk.project import host_platform
from hotdesk.resolve.sdists import SdistBuilder
from hotdesk.resolve.uv import NoSolution, Question, Uv
from hotdesk.resolve.wheels import Target
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

OWN = Target(host_platform(), "debian:trixie")
OTHER = Target("linux/arm64" if OWN.machine == "x86_64" else "linux/amd64", "debian:trixie")


@pytest.fixture(scope="module")
def workshop(namespaces: None) -> Workshop:
    """The machine itself as the base system."""
    able = subprocess.run(["/usr/bin/python3", "-c", "import tomllib"], check=False, capture_output=True)
    if able.returncode:
        pytest.skip("/usr/bin/python3 of this machine is older than 3.11")
    return Workshop(Path("/"), "this machine")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "scratch"
    made.mkdir()
    return made


def test_a_wheel_is_built_and_knows_nothing_of_the_machines_name(
    workshop: Workshop, index: Path, folder: Path
) -> None:
    sdist = add_sdist(index, "odd", build="import socket; content = socket.gethostname()")

    wheel = build_wheel(workshop, sdist, sdist.name, {}, folder)

    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("odd.py") == b"desk"


def test_no_step_leaves_a_link_that_the_next_one_or_the_host_follows(
    workshop: Workshop, index: Path, folder: Path
) -> None:
    victim = folder.parent / "victim"
    victim.write_text("mine")
    links = "; ".join(
        f"(os.path.lexists({path!r}) and os.path.isfile({path!r}) and os.unlink({path!r})) or "
        f"(os.path.lexists({path!r}) or os.symlink({str(victim)!r}, {path!r}))"
        for path in ("/build/hooks.py", "/build/sdist", "/build/requires")
    )
    sdist = add_sdist(index, "odd", asked=links)

    assert build_requirements(workshop, sdist, sdist.name, folder) == []
    assert more_build_requirements(workshop, sdist, sdist.name, {}, folder) == []
    build_wheel(workshop, sdist, sdist.name, {}, folder)

    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "build",
    [
        "os.symlink('{victim}', os.path.join(folder, 'link-1.0-py3-none-any.whl')); "
        "return 'link-1.0-py3-none-any.whl'",
        "os.mkfifo(os.path.join(folder, 'odd-1.0.whl')); return 'odd-1.0.whl'",
        "os.symlink('{victim}', os.path.join(folder, 'result.json')); os._exit(0)",
        "open(os.path.join(folder, 'result.json'), 'w').write('[not JSON'); os._exit(0)",
        "return '../odd.whl'",
    ],
)
def test_what_is_no_wheel_is_an_error_and_nothing_of_the_host_is_read(
    build: str, workshop: Workshop, index: Path, folder: Path
) -> None:
    victim = index / add_wheel(index, "secret", "1.0")
    victim.with_name("result.json").write_text(json.dumps(["secret"]))
    sdist = add_sdist(index, "odd", build=build.format(victim=victim))

    with pytest.raises(BuildRequiredError):
        build_wheel(workshop, sdist, sdist.name, {}, folder)

    assert not list(folder.glob("*.whl"))


def package_of(sdist: Path, store: Store) -> PythonPackage:
    content = sdist.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    store.download(sha256).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sdist, store.download(sha256))
    artifact = Artifact("pypi", "odd", sdist.name, len(content), sha256)
    return PythonPackage("odd", "1.0", artifact, (), 0, Build((), "odd-1.0-py3-none-any.whl", "0" * 64))


def test_a_wheel_that_is_not_the_locked_one_never_gets_into_the_store(
    workshop: Workshop, index: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    package = package_of(add_sdist(index, "odd"), store)

    with pytest.raises(HashMismatchError, match="did not give the wheel"):
        built_wheel(store, package, lambda: workshop, "base")

    assert not list(store.root.glob("items/built/*"))


@pytest.fixture
def builder(workshop: Workshop, index: Path, tmp_path: Path) -> Callable[..., SdistBuilder]:
    def make(*, insisted: bool = True, asked: list[str] | None = None) -> SdistBuilder:
        def base_system(variant: str) -> tuple[Path, str]:
            if asked is not None:
                asked.append(variant)
            return workshop.system, f"base of {variant}"

        store = Store(tmp_path / "store")
        uv = Uv(store, settings_for(index))
        return SdistBuilder(OWN, uv, store, base_system, insisted=insisted, progress=SILENT)

    return make


def test_a_pure_wheel_serves_every_platform(index: Path, builder: Callable[..., SdistBuilder]) -> None:
    add_sdist(index, "odd")
    made = builder(insisted=False)

    assert made.build(Question(["odd"]), ["odd"], OWN, "default") is None
    made.finished()

    assert made.folders(OWN)
    assert made.folders(OTHER) == made.folders(OWN)
    assert made.build(Question(["odd"]), ["odd"], OTHER, "default") is None


def test_a_wheel_for_this_platform_alone_is_locked_for_no_other(
    index: Path, builder: Callable[..., SdistBuilder]
) -> None:
    add_sdist(index, "odd", tag=f"py3-none-linux_{OWN.machine}")
    made = builder(insisted=False)

    assert made.build(Question(["odd"]), ["odd"], OWN, "default") is None
    made.finished()

    assert made.folders(OWN)
    assert made.folders(OTHER) == []
    assert made.origin(f"odd-1.0-py3-none-linux_{OWN.machine}.whl", OTHER) is None


def test_a_platform_nobody_insisted_on_costs_no_base_system(
    index: Path, builder: Callable[..., SdistBuilder]
) -> None:
    add_sdist(index, "odd")
    asked: list[str] = []
    made = builder(insisted=False, asked=asked)
    made.finished()

    still = made.build(Question(["odd"]), ["odd"], OTHER, "default")

    assert isinstance(still, NoSolution)
    assert still.without_wheels == ("odd",)
    assert asked == []


def test_a_locked_build_holds_on_the_base_system_of_each_variant(
    index: Path, tmp_path: Path, builder: Callable[..., SdistBuilder]
) -> None:
    package = package_of(add_sdist(index, "odd"), Store(tmp_path / "store"))
    made = builder()

    with pytest.raises(BuildRequiredError, match="base system of `gpu`"):
        made.verify(package, "gpu")

    made.build(Question(["odd"]), ["odd"], OWN, "cpu")
    found = made.origin("odd-1.0-py3-none-any.whl", OWN)
    assert found
    made.verify(replace(package, build=found[2]), "gpu")
