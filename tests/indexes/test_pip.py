from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import IndexConfigurationError
from hotdesk.indexes.pip import PipSettings, config_files, pip_settings

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_nothing_configured_is_nothing() -> None:
    assert pip_settings({}, files=()) == PipSettings()
    assert not PipSettings().names_indexes()


def test_a_file_is_read_as_pip_writes_it(tmp_path: Path) -> None:
    file = write(
        tmp_path / "pip.conf",
        "[global]\n"
        "index-url = https://user:100%25secret@main.example/simple\n"
        "extra_index_url =\n    https://one.example/simple\n    file:///srv/simple\n"
        "find-links = /srv/wheels /srv/more\n"
        "cert = /etc/ca.pem\nproxy = http://proxy.example:3128\n"
        "trusted-host = a.example\n  b.example\n"
        "[list]\nformat = columns\n",
    )

    assert pip_settings({}, files=(file,)) == PipSettings(
        index_url="https://user:100%25secret@main.example/simple",
        extra_index_urls=("https://one.example/simple", "file:///srv/simple"),
        find_links=("/srv/wheels", "/srv/more"),
        cert="/etc/ca.pem",
        proxy="http://proxy.example:3128",
        trusted_hosts=("a.example", "b.example"),
    )


def test_the_stronger_file_wins_then_the_install_section_then_the_environment(tmp_path: Path) -> None:
    weak = write(
        tmp_path / "weak", "[global]\nindex-url = https://weak.example\n[install]\nno-index = true\n"
    )
    strong = write(tmp_path / "strong", "[global]\nindex-url = https://strong.example\nno-index = false\n")
    files = (weak, strong)

    assert pip_settings({}, files=files).index_url == "https://strong.example"
    assert pip_settings({}, files=files).no_index
    assert not pip_settings({"PIP_NO_INDEX": "0"}, files=files).no_index
    assert (
        pip_settings({"PIP_INDEX_URL": "https://env.example"}, files=files).index_url == "https://env.example"
    )


def test_an_empty_variable_counts_for_nothing(tmp_path: Path) -> None:
    file = write(tmp_path / "pip.conf", "[global]\nindex-url = https://file.example\n")

    assert pip_settings({"PIP_INDEX_URL": ""}, files=(file,)).index_url == "https://file.example"


@pytest.mark.parametrize("text", ["no section = 1\n", "[global]\nindex-url = a\nindex-url = b\n", "\0"])
def test_a_broken_file_is_told_with_its_name(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "pip.conf", text)

    with pytest.raises(IndexConfigurationError, match=r"pip\.conf cannot be read"):
        pip_settings({}, files=(file,))


def test_missing_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert pip_settings({}, files=(tmp_path / "none", tmp_path / "file" / "none")) == PipSettings()


def test_files_are_sought_where_pip_seeks_them(tmp_path: Path) -> None:
    environment = {"HOME": "/home/me", "XDG_CONFIG_DIRS": "/strong:/weak", "VIRTUAL_ENV": "/venv"}

    found = [str(path) for path in config_files(environment) if "Library" not in path.parts]

    assert found == [
        "/weak/pip/pip.conf",
        "/strong/pip/pip.conf",
        "/etc/pip.conf",
        "/home/me/.pip/pip.conf",
        "/home/me/.config/pip/pip.conf",
        "/venv/pip.conf",
    ]


def test_a_named_file_takes_the_place_of_the_users(tmp_path: Path) -> None:
    named = write(tmp_path / "named.conf", "")

    found = list(config_files({"HOME": "/home/me", "PIP_CONFIG_FILE": str(named)}))

    assert found[-1] == named
    assert not any(path.is_relative_to("/home/me") for path in found)


def test_pip_can_be_told_to_read_no_file_at_all() -> None:
    assert list(config_files({"PIP_CONFIG_FILE": "/dev/null"})) == []
