from __future__ import annotations

from typing import TYPE_CHECKING

from tests.layers.debs import control

from hotdesk.build.dpkg import write_database
from hotdesk.build.unpack import Unpacked

if TYPE_CHECKING:
    from pathlib import Path


def package(name: str, *listed: str, files: dict[str, bytes] | None = None, **fields: str) -> Unpacked:
    return Unpacked(name, {"control": control(name, **fields), **(files or {})}, ("/.", *listed))


def test_a_package_is_unpacked_and_not_yet_configured(tmp_path: Path) -> None:
    write_database(tmp_path, [package("tool", "/usr", "/usr/tool", files={"postinst": b"#!/bin/sh\n"})])

    database = tmp_path / "var/lib/dpkg"
    assert b"Package: tool\nStatus: install ok unpacked\n" in (database / "status").read_bytes()
    assert (database / "info/tool.list").read_text() == "/.\n/usr\n/usr/tool\n"
    assert (database / "info/tool.postinst").stat().st_mode & 0o777 == 0o755


def test_a_package_that_may_be_there_twice_has_its_architecture_in_its_name(tmp_path: Path) -> None:
    write_database(tmp_path, [package("libx", multi_arch="same")])

    assert (tmp_path / "var/lib/dpkg/info/libx:amd64.list").exists()


def test_conffiles_are_known_by_their_digests(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/tool.conf").write_bytes(b"")
    conffiles = b"/etc/tool.conf\nremove-on-upgrade /etc/old.conf\n"

    write_database(tmp_path, [package("tool", files={"conffiles": conffiles})])

    status = (tmp_path / "var/lib/dpkg/status").read_bytes()
    assert status.endswith(b"Conffiles:\n /etc/tool.conf d41d8cd98f00b204e9800998ecf8427e\n")


def test_interests_are_filed_by_trigger(tmp_path: Path) -> None:
    triggers = b"# comment\ninterest-noawait /usr/share/fonts\ninterest ldconfig\nactivate other\n"

    write_database(tmp_path, [package("tool", files={"triggers": triggers})])

    folder = tmp_path / "var/lib/dpkg/triggers"
    assert (folder / "File").read_text() == "/usr/share/fonts tool/noawait\n"
    assert (folder / "ldconfig").read_text() == "tool\n"
    assert not (folder / "other").exists()


def test_the_order_in_which_packages_arrived_does_not_show(tmp_path: Path) -> None:
    packages = [package("b", "/b"), package("a", "/a"), package("c", "/c")]
    for name, order in (("one", packages), ("two", packages[::-1])):
        (tmp_path / name).mkdir()
        write_database(tmp_path / name, order)

    one, two = (tmp_path / name / "var/lib/dpkg/status" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
