"""What a package without a wheel may say, and see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import BuildRequiredError
from hotdesk.resolve.sdists import authorities, local_folders, plain_requirements

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "stated",
    [
        "--no-binary evil",
        "-r /etc/passwd",
        "--find-links /home/u",
        "evil @ https://host.example/evil-1.0.tar.gz",
        "setuptools\n--no-binary evil",
        'setuptools; platform_release == "x\n--no-binary evil"',
        "./evil",
    ],
)
def test_a_build_requirement_that_is_more_than_one_is_refused(stated: str) -> None:
    with pytest.raises(BuildRequiredError, match=r"`x-1.0.tar.gz` has no wheel, and what its build requires"):
        plain_requirements(["wheel", stated], "x-1.0.tar.gz")


def test_build_requirements_are_passed_on_in_plain_form() -> None:
    stated = ["setuptools >= 61, <80", 'tomli; python_version < "3.11"']

    assert plain_requirements(stated, "x") == ["setuptools<80,>=61", 'tomli; python_version < "3.11"']


def test_only_what_an_index_on_disk_leads_to_is_shown(tmp_path: Path) -> None:
    page = tmp_path / "simple" / "odd"
    page.mkdir(parents=True)
    page.joinpath("index.html").write_text(
        '<a href="../../files/odd-1.0.tar.gz#sha256=00">odd</a>'
        '<a href="https://host.example/home/user/.ssh/odd-1.0.whl">odd</a>'
        '<a href="file://host.example/home/user/odd-1.0.whl">odd</a>'
    )
    environment = {
        "UV_DEFAULT_INDEX": (tmp_path / "simple").as_uri(),
        "UV_INDEX": "https://index.example/simple",
        "UV_FIND_LINKS": f"{(tmp_path / 'flat').as_uri()},https://flat.example/",
    }

    assert sorted(local_folders(environment)) == [
        str(tmp_path / name) for name in ("files", "flat", "simple")
    ]


def test_a_folder_of_authorities_is_shown_as_one_file_its_links_resolved(tmp_path: Path) -> None:
    certificate = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
    (tmp_path / "elsewhere.crt").write_bytes(certificate)
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "company.pem").symlink_to(tmp_path / "elsewhere.crt")
    (folder / "5ed36f99.0").symlink_to("company.pem")
    (folder / "company.key").write_text("-----BEGIN PRIVATE KEY-----")

    assert authorities({"SSL_CERT_DIR": str(folder)}) == certificate
    assert authorities({}) == b""
