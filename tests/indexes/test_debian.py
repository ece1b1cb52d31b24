from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import IndexConfigurationError
from hotdesk.indexes.apt_config import AptSettings, AptSource
from hotdesk.indexes.debian import DebianArchives, find_archives, user_settings
from hotdesk.lock import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEB = Artifact("debian", "debian", "pool/main/h/hello/hello_2.10-5~1+b1_amd64.deb", 1, "0" * 64)
APT = [
    AptSource("http://apt.example/debian", ("trixie",), ("main",)),
    AptSource("http://apt.example/debian-security", ("trixie-security",), ("main",)),
]


def find(
    environment: Mapping[str, str] | None = None,
    user: Mapping[str, str] | None = None,
    sources: list[AptSource] | None = None,
    settings: AptSettings = AptSettings(),  # noqa: B008 (frozen)
) -> DebianArchives:
    return find_archives(environment or {}, user or {}, sources or [], settings)


def test_the_environment_comes_before_the_user_and_the_user_before_apt() -> None:
    environment = {"HOTDESK_DEBIAN_MIRROR": "https://env.example/debian/"}
    user = {"mirror": "https://user.example/debian"}

    assert find(environment, user, APT).mirror("debian") == "https://env.example/debian"
    assert find({}, user, APT).mirror("debian") == "https://user.example/debian"
    assert find({}, {}, APT).mirror("debian") == "http://apt.example/debian"


def test_the_security_mirror_is_the_sibling_of_the_one_that_was_set() -> None:
    found = find({"HOTDESK_DEBIAN_MIRROR": "https://env.example/pub/debian"}, {}, APT)

    assert found.mirror("debian-security") == "https://env.example/pub/debian-security"


def test_a_security_mirror_of_its_own_is_taken() -> None:
    environment = {"HOTDESK_DEBIAN_SECURITY_MIRROR": "https://secure.example/s"}

    found = find(environment, {}, APT)

    assert found.mirrors == {
        "debian": "http://apt.example/debian",
        "debian-security": "https://secure.example/s",
    }


def test_without_any_mirror_the_error_says_what_to_set() -> None:
    with pytest.raises(IndexConfigurationError) as raised:
        find().mirror("debian")

    assert "HOTDESK_DEBIAN_MIRROR" in raised.value.hint
    assert "config.toml" in raised.value.hint


def test_a_mirror_with_an_odd_name_has_no_sibling() -> None:
    found = find({"HOTDESK_DEBIAN_MIRROR": "https://env.example/mirror"})

    with pytest.raises(IndexConfigurationError, match="debian-security"):
        found.mirror("debian-security")


@pytest.mark.parametrize("address", ["env.example/debian", "ftp://env.example/debian", "https:///debian"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(IndexConfigurationError):
        find({"HOTDESK_DEBIAN_MIRROR": address})


def test_a_refused_address_is_shown_without_its_password() -> None:
    with pytest.raises(IndexConfigurationError) as caught:
        find({"HOTDESK_DEBIAN_MIRROR": "ftp://me:secret@env.example/debian"})

    assert "env.example" in caught.value.what
    assert "secret" not in str(caught.value)


def test_a_deb_is_sought_on_the_mirror_and_then_by_date() -> None:
    environment = {
        "HOTDESK_DEBIAN_MIRROR": "https://env.example/debian",
        "HOTDESK_DEBIAN_SNAPSHOT": "https://old.example/",
    }

    assert find(environment).locations(DEB, "20261231T230000Z") == [
        "https://env.example/debian/pool/main/h/hello/hello_2.10-5~1+b1_amd64.deb",
        "https://old.example/archive/debian/20261231T230000Z/pool/main/h/hello/hello_2.10-5~1+b1_amd64.deb",
        "https://old.example/archive/debian/20270101T230000Z/pool/main/h/hello/hello_2.10-5~1+b1_amd64.deb",
    ]


def test_a_dated_mirror_is_old_by_intent_and_names_the_snapshot_archive() -> None:
    found = find({"HOTDESK_DEBIAN_MIRROR": "https://old.example/archive/debian/20260101T000000Z"})

    assert found.mirror("debian-security") == "https://old.example/archive/debian-security/20260101T000000Z"
    assert found.snapshot == "https://old.example"
    assert not found.check_valid_until


def test_without_a_mirror_no_location_is_made_up() -> None:
    with pytest.raises(IndexConfigurationError):
        find().locations(DEB, "20260101T000000Z")


def test_apts_own_word_on_old_indexes_counts() -> None:
    assert find({}, {}, APT).check_valid_until
    assert not find({}, {}, APT, AptSettings(check_valid_until=False)).check_valid_until


def test_the_users_configuration_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[debian]\nmirror = "https://user.example/debian"\n')

    assert user_settings(path) == {"mirror": "https://user.example/debian"}
    assert user_settings(tmp_path / "absent.toml") == {}


@pytest.mark.parametrize(
    "text",
    ["[debian\n", '[debian]\nmirrow = "x"\n', "[debian]\nmirror = 1\n", "debian = 1\n", "x = " + "[" * 9999],
)
def test_a_configuration_that_is_not_understood_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)

    with pytest.raises(IndexConfigurationError, match=r"config\.toml"):
        user_settings(path)


def test_ubuntus_mirrors_are_those_of_apt_or_the_environment() -> None:
    apt = [AptSource("http://apt.example/ubuntu", ("noble",), ("main",))]
    environment = {"HOTDESK_UBUNTU_PORTS_MIRROR": "https://env.example/ubuntu-ports/"}

    found = find(environment, {}, apt)

    assert found.mirrors == {
        "ubuntu": "http://apt.example/ubuntu",
        "ubuntu-ports": "https://env.example/ubuntu-ports",
    }
    with pytest.raises(IndexConfigurationError) as raised:
        find().mirror("ubuntu")
    assert raised.value.hint == (
        "set HOTDESK_UBUNTU_MIRROR to the address of a mirror (it ends in `/ubuntu`)"
    )


def test_debians_snapshots_have_nothing_of_ubuntus() -> None:
    archives = DebianArchives({"ubuntu": "http://apt.example/ubuntu"}, snapshot="http://snap.example")
    artifact = Artifact("debian", "ubuntu", "pool/main/h/hello/hello_2_amd64.deb", 1, "0" * 64)

    assert archives.locations(artifact, "20260101T000000Z") == [
        "http://apt.example/ubuntu/pool/main/h/hello/hello_2_amd64.deb"
    ]
