from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.indexes.apt_config import (
    AptSettings,
    AptSource,
    archive_of,
    parse_settings,
    read_sources,
    snapshot_base_of,
)

if TYPE_CHECKING:
    from pathlib import Path


def etc_apt(folder: Path, **files: str) -> Path:
    (folder / "sources.list.d").mkdir()
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        path = folder / "sources.list" if name == "main" else folder / "sources.list.d" / f"{stem}.{suffix}"
        path.write_text(text)
    return folder


def archives(folder: Path) -> list[tuple[str | None, str]]:
    return [(source.archive, source.uri) for source in read_sources(folder)]


def test_lines_with_options_and_comments_are_read(tmp_path: Path) -> None:
    folder = etc_apt(
        tmp_path,
        main="# deb http://old.example/debian trixie main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
        "http://mirror.example/debian/ trixie main contrib # ours\n"
        "deb-src http://mirror.example/debian trixie main\n"
        "deb [check-valid-until=no] https://mirror.example/debian-security trixie-security main\n",
    )

    assert read_sources(folder) == [
        AptSource(
            "http://mirror.example/debian/",
            ("trixie",),
            ("main", "contrib"),
            "/usr/share/keyrings/debian-archive-keyring.gpg",
        ),
        AptSource(
            "https://mirror.example/debian-security", ("trixie-security",), ("main",), check_valid_until=False
        ),
    ]


def test_deb822_stanzas_are_read_and_disabled_ones_are_not(tmp_path: Path) -> None:
    folder = etc_apt(
        tmp_path,
        debian_sources="Types: deb deb-src\n# a comment\nURIs: http://one.example/debian\n http://two.example/debian\n"
        "Suites: trixie trixie-updates\nComponents: main\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n\n"
        "Types: deb-src\nURIs: http://source.example/debian\nSuites: trixie\nComponents: main\n",
    )

    assert archives(folder) == [
        ("debian", "http://one.example/debian"),
        ("debian", "http://two.example/debian"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] http://mirror.example/ubuntu noble main",
        "deb https://containers.example/linux/debian trixie stable",
        "deb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/tool/debian trixie main",
        "deb cdrom:[Debian 13]/ trixie main",
        "deb mirror+file:/etc/apt/mirrors/debian.list trixie main",
        "deb https://vendor.example/apt stable main",
    ],
)
def test_other_archives_are_not_debians(tmp_path: Path, line: str) -> None:
    assert [archive for archive, _ in archives(etc_apt(tmp_path, main=line))] in ([], [None])


def test_a_vendors_embedded_key_is_not_debians(tmp_path: Path) -> None:
    folder = etc_apt(
        tmp_path,
        vendor_sources="Types: deb\nURIs: https://vendor.example/debian\nSuites: trixie\nComponents: main\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n",
    )

    assert archives(folder) == [(None, "https://vendor.example/debian")]


def test_a_machine_without_apt_has_no_sources(tmp_path: Path) -> None:
    assert read_sources(tmp_path / "absent") == []


def test_a_dated_mirror_names_its_archive_and_its_base() -> None:
    uri = "https://snapshots.example/archive/debian-security/20260520T000000Z/"

    assert archive_of(uri) == "debian-security"
    assert snapshot_base_of(uri) == "https://snapshots.example"


def test_settings_come_from_the_dump_of_apt_config() -> None:
    dump = (
        'Acquire "";\n'
        'Acquire::http::Proxy "http://proxy.example:3142";\n'
        'Acquire::Check-Valid-Until "false";\n'
    )

    assert parse_settings(dump) == AptSettings(check_valid_until=False)


def test_an_empty_dump_gives_apts_defaults() -> None:
    assert parse_settings("") == AptSettings(check_valid_until=True)


def test_the_list_that_a_mirror_source_names_is_read(tmp_path: Path) -> None:
    listed = tmp_path / "debian.list"
    listed.write_text("# nearest first\nhttps://one.example/debian\tpriority:1\nhttps://two.example/debian\n")
    folder = etc_apt(
        tmp_path,
        main=f"deb mirror+file:{listed} trixie main\ndeb mirror+file:/nowhere/list trixie-updates main\n",
    )

    assert archives(folder) == [
        ("debian", "https://one.example/debian"),
        ("debian", "https://two.example/debian"),
    ]


@pytest.mark.parametrize("name", ["ubuntu", "ubuntu-ports"])
def test_ubuntus_archives_are_known_by_their_path_and_keys(tmp_path: Path, name: str) -> None:
    keyring = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
    line = f"deb [signed-by={keyring}] http://mirror.example/{name} noble main universe"

    assert [archive for archive, _ in archives(etc_apt(tmp_path, main=line))] == [name]


def test_an_address_of_ubuntus_signed_by_debians_keys_is_neither(tmp_path: Path) -> None:
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    line = f"deb [signed-by={keyring}] http://mirror.example/ubuntu noble main"

    assert [archive for archive, _ in archives(etc_apt(tmp_path, main=line))] in ([], [None])
