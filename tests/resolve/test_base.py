"""What is in an image that a spec names as its base."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.oci.images import image, layer, tree
from tests.resolve.test_debian import stanza
from tests.support.images import put_in_store

from hotdesk.build.base import locked_blobs
from hotdesk.errors import ImageError, ResolveError
from hotdesk.indexes.debian_release import PackagesFile
from hotdesk.lock_base import LockedBase
from hotdesk.oci.model import Image
from hotdesk.oci.pulled import pulled_image
from hotdesk.resolve.base import (
    MOST_LAYERS,
    UBUNTU_KEYRING,
    BaseImage,
    find_base,
    installed_in,
    python_requests,
    reference_of,
    release_of,
)
from hotdesk.resolve.debian import resolve
from hotdesk.resolve.debian_universe import Candidate, Universe
from hotdesk.store import Store

AMD = "linux/amd64"
TRIXIE = b'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nVERSION_CODENAME=trixie\nID=debian\n'
NOBLE = b'ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME="noble"\n'


def installed(name: str, version: str = "1", status: str = "install ok installed", **fields: str) -> str:
    """A stanza as dpkg has it."""
    architecture = fields.pop("Architecture", "amd64")
    more = "".join(f"{key}: {value}\n" for key, value in fields.items())
    return f"Package: {name}\nStatus: {status}\nArchitecture: {architecture}\nVersion: {version}\n{more}"


STATUS = "\n".join(
    [
        installed("libc6", "2.41-12"),
        installed("python3.13", "3.13.5-2", Depends="libc6 (>= 2.38)"),
        installed("gone", status="deinstall ok config-files"),
        installed("libc6", "2.41-12", Architecture="i386"),
        installed("all", Architecture="all"),
    ]
).encode()


def base_of(store: Store, found: Image) -> BaseImage:
    """As `find_base` reads it from the store, where it is already."""
    digest = put_in_store(store, found)
    manifest, config, layers = locked_blobs(pulled_image(store, digest))
    locked = LockedBase(manifest, config, layers, "debian:trixie", "3.13.5", 41)
    return find_base(store, "registry.example/base:1", AMD, locked)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_the_release_and_the_packages_are_read_from_the_layers(store: Store) -> None:
    files: dict[str, bytes | str | None] = {
        "etc/os-release": "../usr/lib/os-release",
        "usr/lib/os-release": TRIXIE,
        "var/lib/dpkg/status": STATUS,
    }
    found = base_of(store, image(tree(files)))

    assert found.release == "debian:trixie"
    assert Universe([], found.installed).installed() == {
        "libc6": "2.41-12",
        "python3.13": "3.13.5-2",
        "all": "1",
    }
    assert found.keyring == b""


def test_what_is_locked_of_it_is_what_packages_have_to_fit(store: Store) -> None:
    files: dict[str, bytes | str | None] = {"usr/lib/os-release": TRIXIE, "var/lib/dpkg/status": STATUS}
    found = base_of(store, image(tree(files)))

    locked = found.locked("3.13", [resolve(Universe([], found.installed), ["python3.13"])])

    assert (locked.python, locked.glibc, locked.release) == ("3.13.5", 41, "debian:trixie")
    assert locked.digest == found.image.manifest.descriptor.digest
    with pytest.raises(ImageError, match="cannot be the base") as caught:
        found.locked("3.13", [()])
    assert "`python3.13`" in caught.value.why


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"usr/lib/os-release": TRIXIE}, "there is no dpkg in it"),
        ({"var/lib/dpkg/status": STATUS}, "nothing that os-release(5) tells"),
        ({"var/lib/dpkg/status": STATUS, "etc/os-release": b"ID=alpine\n"}, "it is `alpine`"),
        ({"var/lib/dpkg/status": b"\xff", "etc/os-release": TRIXIE}, "is damaged"),
        ({"var/lib/dpkg/status": STATUS, "etc/os-release": NOBLE}, f"it has no /{UBUNTU_KEYRING}"),
    ],
)
def test_an_image_without_a_system_that_hotdesk_knows_is_refused(
    store: Store, files: dict[str, bytes | str | None], why: str
) -> None:
    with pytest.raises(ImageError, match="cannot be the base of a desk") as caught:
        base_of(store, image(tree(files)))

    assert why in caught.value.why


def test_one_with_too_many_layers_leaves_no_room(store: Store) -> None:
    layers = [layer(tree({f"{number}": b""})) for number in range(MOST_LAYERS + 1)]

    with pytest.raises(ImageError, match="cannot be the base") as caught:
        base_of(store, image(*layers))

    assert f"it has {MOST_LAYERS + 1} layers" in caught.value.why


def test_the_keys_of_ubuntus_archive_are_those_in_the_image(store: Store) -> None:
    files: dict[str, bytes | str | None] = {
        "etc/os-release": NOBLE,
        "var/lib/dpkg/status": STATUS,
        UBUNTU_KEYRING: b"keys",
    }
    found = base_of(store, image(tree(files)))

    assert (found.release, found.keyring) == ("ubuntu:noble", b"keys")


@pytest.mark.parametrize(
    "text", [b"ID=debian\nVERSION_CODENAME=sid\n", b"ID=debian\n", b"ID=ubuntu\nVERSION_CODENAME=../x\n", b""]
)
def test_releases_that_hotdesk_does_not_know(text: bytes) -> None:
    with pytest.raises(ImageError, match="cannot be the base of a desk"):
        release_of(text)


@pytest.mark.parametrize(
    "status",
    [
        installed("../x"),
        installed("a", "1; rm"),
        "Package: a\nStatus: install ok installed\nArchitecture: all\n",
    ],
)
def test_names_and_versions_that_no_package_has_are_refused(status: str) -> None:
    with pytest.raises(ImageError, match="cannot be the base of a desk"):
        installed_in(status.encode(), "amd64")


def test_a_reference_that_is_none_says_what_to_correct() -> None:
    with pytest.raises(ResolveError) as caught:
        reference_of("registry.example/Team/base")

    assert "`oci:registry.example/Team/base` cannot be the base" in str(caught.value)
    assert "`Team/base` is no repository" in caught.value.why
    assert "correct `base` in `hotdesk.toml`" in caught.value.hint


def universe(folder: Path, status: str, *offered: str) -> Universe:
    path = folder / "Packages"
    path.write_text("\n".join(offered) + "\n")
    return Universe([PackagesFile("debian", "trixie", path)], installed_in(status.encode(), "amd64"))


def versions(found: list[Candidate]) -> dict[str, str]:
    return {one.name: f"{one.version}{' there' if one.installed else ''}" for one in found}


def test_what_is_installed_stays_and_only_the_rest_is_new(tmp_path: Path) -> None:
    status = "\n".join([installed("libc6"), installed("tool", Depends="libc6")])
    offered = [
        stanza("libc6", "2"),
        stanza("base", Essential="yes"),
        stanza("a", Depends="libc6, b"),
        stanza("b"),
    ]

    found = resolve(universe(tmp_path, status, *offered), ["a"])

    assert versions(found) == {"libc6": "1 there", "tool": "1 there", "a": "1", "b": "1"}


def test_an_older_one_that_is_in_the_way_is_replaced_and_no_other(tmp_path: Path) -> None:
    status = "\n".join([installed("perl-base"), installed("libc6"), installed("apt")])
    offered = [
        stanza("perl", Depends="modules"),
        stanza("modules", Depends="perl-base (= 2)"),
        *(stanza(name, "2") for name in ("perl-base", "libc6", "apt")),
    ]

    found = resolve(universe(tmp_path, status, *offered), ["perl"])

    assert versions(found) == {
        "perl": "1", "modules": "1", "perl-base": "2", "libc6": "1 there", "apt": "1 there"
    }  # fmt: skip


def test_what_is_installed_is_never_given_up(tmp_path: Path) -> None:
    status = installed("mawk")

    with pytest.raises(ResolveError, match="cannot be installed together"):
        resolve(universe(tmp_path, status, stanza("gawk", Conflicts="mawk")), ["gawk"])


def test_a_package_of_another_architecture_with_the_same_name_does_not_count(tmp_path: Path) -> None:
    status = installed("a", Architecture="i386")

    assert versions(resolve(universe(tmp_path, status, stanza("a", "2")), ["a"])) == {"a": "2"}


def test_the_interpreter_is_the_images_own_or_the_releases(tmp_path: Path) -> None:
    there = universe(tmp_path, installed("python3.13"), stanza("python3", Depends="python3.13 (>= 3)"))
    assert python_requests(there, "3.13") == ["python3", "python3.13"]

    other = universe(tmp_path, installed("python3.12"), stanza("python3", Depends="python3.13"))
    assert python_requests(other, "3.12") == ["python3.12"]


def test_an_interpreter_that_is_nowhere_to_be_had_says_what_there_is(tmp_path: Path) -> None:
    offered = [stanza("python3.9"), stanza("python3.13"), stanza("python3.13-dev")]

    with pytest.raises(ResolveError, match=r"there is no Python 3\.12") as caught:
        python_requests(universe(tmp_path, installed("libc6"), *offered), "3.12")

    assert "its release offers Python 3.9 and 3.13" in caught.value.why
