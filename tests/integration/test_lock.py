"""Specs locked from the machine's own indexes: versions change from day to day, what is asserted does not."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import BuildRequiredError, HotdeskError
from hotdesk.lock import Lock, format_lock, parse_lock
from hotdesk.resolve.locking import Locking, make_lock
from hotdesk.resolve.wheels import Target, wheel_rank
from hotdesk.spec import explain_stale, parse_spec, read_spec
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

TEMPLATE = Path(__file__).parents[2] / "src" / "hotdesk" / "templates" / "sdcnd-term1" / "hotdesk.toml"
DESK = '[desk]\nname = "x"\npython = "3.13"\nbase = "debian:trixie"\nplatforms = ["linux/amd64"]\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def term1(store: Store) -> Locking:
    return make_lock(read_spec(TEMPLATE), None, store=store)


def names(lock: Lock, variant: str) -> set[str]:
    return {package.name for package in lock.select("linux/amd64", variant).pypi}


def test_both_variants_of_term_1_are_locked(term1: Locking) -> None:
    cpu, gpu = (names(term1.lock, variant) for variant in ("cpu", "gpu"))

    assert {"tensorflow-cpu", "keras", "opencv-python", "jupyterlab", "scikit-image"} <= cpu
    assert "tensorflow" in gpu
    assert any(name.startswith("nvidia-") for name in gpu - cpu)


def test_shared_packages_have_one_version(term1: Locking) -> None:
    for platform in term1.lock.platforms.values():
        versions: dict[str, set[str]] = {}
        for package in platform.pypi:
            versions.setdefault(package.name, set()).add(package.version)
        assert all(len(held) == 1 for held in versions.values())


def test_every_wheel_fits_its_platform_and_base(term1: Locking) -> None:
    for platform, locked in term1.lock.platforms.items():
        target = Target(platform, "debian:trixie")
        assert all(wheel_rank(one.artifact.file, target) for one in locked.pypi if not one.build)
        assert all(one.artifact.size > 0 for one in locked.pypi)


def test_the_base_holds_the_interpreter_and_what_was_asked_for(term1: Locking) -> None:
    held = {package.name for package in term1.lock.select("linux/amd64", "cpu").debian}

    assert {"python3", "python3.13", "ca-certificates", "libc6", "libgl1", "unzip", "dpkg"} <= held


def test_a_variant_without_wheels_for_arm_is_recorded_with_the_reason(term1: Locking) -> None:
    unavailable = term1.lock.platforms["linux/arm64"].unavailable

    assert "tensorflow" in unavailable.get("cpu", "tensorflow")
    assert set(unavailable) <= {"cpu", "gpu"}


def test_the_lock_names_no_host_and_reads_back(term1: Locking) -> None:
    text = format_lock(term1.lock)

    assert not re.search(r"https?:|file:|//[a-z]", text)
    assert parse_lock(text) == term1.lock


def test_locking_again_changes_nothing(store: Store, term1: Locking) -> None:
    assert make_lock(read_spec(TEMPLATE), term1.lock, store=store).lock == term1.lock


def test_an_added_package_goes_on_top_and_its_removal_restores_the_lock(store: Store, term1: Locking) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    more = parse_spec(text.replace('"seaborn",', '"seaborn", "emoji",'))
    assert explain_stale(term1.lock, more) == "`emoji` was added to `[packages] pypi`"

    grown = make_lock(more, term1.lock, store=store).lock
    shrunk = make_lock(read_spec(TEMPLATE), grown, store=store).lock

    before, after = (lock.platforms["linux/amd64"].pypi for lock in (term1.lock, grown))
    new = [package for package in after if package not in before]
    assert [package.name for package in new] == ["emoji"]
    assert new[0].layer == max(package.layer for package in before) + 1
    assert grown.snapshot == term1.lock.snapshot
    assert shrunk == term1.lock


def test_bookworm_with_its_own_python_is_locked(store: Store) -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("trixie", "bookworm").replace('"3.13"', '"3.11"').replace("2.0-0t64", "2.0-0")

    locked = make_lock(parse_spec(text), None, store=store).lock.select("linux/amd64", "cpu")

    assert {"python3.11", "libglib2.0-0"} <= {package.name for package in locked.debian}
    assert {"tensorflow-cpu", "keras"} <= {package.name for package in locked.pypi}
    target = Target("linux/amd64", "debian:bookworm")
    assert all(wheel_rank(one.artifact.file, target) for one in locked.pypi if not one.build)


def test_a_package_that_does_not_exist_fails_on_every_platform(store: Store, term1: Locking) -> None:
    spec = parse_spec(DESK + '[packages]\npypi = ["no-such-package-of-hotdesk"]\n')

    with pytest.raises(HotdeskError, match="cannot be had together") as caught:
        make_lock(spec, None, store=store)

    assert "no-such-package-of-hotdesk was not found" in caught.value.why


@pytest.fixture
def build(store: Store, term1: Locking, namespaces: None) -> Callable[[str], Lock]:
    def lock(packages: str) -> Lock:
        return make_lock(parse_spec(DESK + f"[packages]\n{packages}\n"), None, store=store).lock

    return lock


def test_a_package_without_wheels_is_built_and_its_build_locked(
    store: Store, build: Callable[[str], Lock]
) -> None:
    locked = build('pypi = ["moviepy==1.0.3", "decorator<5"]')

    (package,) = [one for one in locked.platforms["linux/amd64"].pypi if one.build]
    assert package.artifact.file == "moviepy-1.0.3.tar.gz"
    assert package.build
    assert package.build.wheel == "moviepy-1.0.3-py3-none-any.whl"
    assert any(item.project == "setuptools" for item in package.build.requires)
    (wheel,) = store.root.glob(f"items/built/*/{package.build.wheel}")
    with zipfile.ZipFile(wheel) as archive:
        assert "moviepy/editor.py" in archive.namelist()


def test_a_package_that_needs_a_compiler_says_so(build: Callable[[str], Lock]) -> None:
    with pytest.raises(BuildRequiredError, match="bitarray") as caught:
        build('pypi = ["bitarray==2.8.0"]')

    assert "Python 3.13" in caught.value.what
    assert "linux/amd64" in caught.value.what
    assert "gcc" in caught.value.why
    assert "build-essential" in caught.value.hint


def test_with_a_compiler_on_the_desk_it_is_built(build: Callable[[str], Lock]) -> None:
    locked = build('pypi = ["bitarray==2.8.0"]\ndebian = ["build-essential", "python3-dev"]')

    (package,) = locked.platforms["linux/amd64"].pypi
    assert package.build
    assert package.build.wheel.endswith("_x86_64.whl")
