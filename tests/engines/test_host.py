from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.engines.host import can_forbid_namespaces, read_host

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A small host: DNS through a stub, Berlin's time, one processor folder."""
    for folder in ("etc", "run/stub", "usr/share/zoneinfo/Europe", "sys/devices/system/cpu", "proc/sys/user"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "run/stub/resolv.conf").write_text("nameserver 127.0.0.53\n")
    (tmp_path / "etc/resolv.conf").symlink_to("../run/stub/resolv.conf")
    (tmp_path / "usr/share/zoneinfo/Europe/Berlin").write_bytes(b"TZif")
    (tmp_path / "etc/localtime").symlink_to("../usr/share/zoneinfo/Europe/Berlin")
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (tmp_path / "proc/sys/user/max_user_namespaces").write_text("100\n")
    (tmp_path / "proc/keys").write_text("")
    return tmp_path


def test_the_resolver_is_the_file_behind_the_link(top: Path) -> None:
    assert read_host({}, top).resolver == top / "run/stub/resolv.conf"


def test_a_dangling_resolver_is_none(top: Path) -> None:
    (top / "run/stub/resolv.conf").unlink()

    assert read_host({}, top).resolver is None


@pytest.mark.parametrize(
    ("variables", "zone"),
    [({}, "Europe/Berlin"), ({"TZ": "Asia/Tokyo"}, "Asia/Tokyo"), ({"TZ": ":UTC"}, "UTC")],
)
def test_the_time_zone_is_the_callers_then_the_hosts(top: Path, variables: dict[str, str], zone: str) -> None:
    assert read_host(variables, top).time_zone == zone


def test_a_zone_given_as_a_file_is_not_taken(top: Path) -> None:
    assert read_host({"TZ": "/etc/somewhere"}, top).time_zone == "Europe/Berlin"


def test_without_any_zone_it_is_utc(tmp_path: Path) -> None:
    assert read_host({}, tmp_path).time_zone == "UTC"


def test_only_a_short_list_of_variables_passes(top: Path) -> None:
    variables = {
        "TERM": "xterm",
        "HTTPS_PROXY": "http://p",
        "no_proxy": "x",
        "SECRET": "s",
        "LD_PRELOAD": "l",
    }

    assert set(read_host(variables, top).environment) == {"TERM", "HTTPS_PROXY", "no_proxy"}


def test_the_bundle_is_the_first_that_exists(top: Path) -> None:
    bundle = top / "company.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----")
    variables = {"SSL_CERT_FILE": "/not/there", "REQUESTS_CA_BUNDLE": str(bundle)}

    assert read_host(variables, top).ca_bundle == bundle
    assert read_host({}, top).ca_bundle is None


def test_what_exists_is_covered_and_nothing_else(top: Path) -> None:
    host = read_host({}, top)

    assert (host.protected, host.hidden) == (("/proc/sys",), ("/proc/keys",))
    assert host.hardware == (top / "sys/devices/system/cpu",)


def test_a_kernel_without_the_setting_cannot_forbid_namespaces(tmp_path: Path) -> None:
    assert not can_forbid_namespaces(tmp_path)
