from __future__ import annotations

import hashlib
import lzma
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx2
import pytest
from pysequoia import SignatureMode, Tsk, sign

from hotdesk.errors import GoneError, HashMismatchError, ResolveError, SignatureError
from hotdesk.indexes.debian import DebianArchives
from hotdesk.indexes.debian_release import DebianIndexes, debian_keyring, fetch_indexes, verified_release
from hotdesk.indexes.http import make_client
from hotdesk.progress import SILENT, Progress, Task, Unit
from hotdesk.store import Store

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

KEY = Tsk.generate("Archive of the tests <archive@example.org>")
KEYRING = bytes(KEY.extract_certificate())
ARCHIVES = DebianArchives(
    {"debian": "http://mirror.example/debian", "debian-security": "http://mirror.example/debian-security"}
)
SUITES = {
    "debian/dists/trixie": "trixie",
    "debian/dists/trixie-updates": "trixie-updates",
    "debian-security/dists/trixie-security": "trixie-security",
}


def packages_of(suite: str) -> bytes:
    return f"Package: hello\nVersion: 1~{suite}\n\n".encode()


def signed(text: str, key: Tsk = KEY) -> bytes:
    return sign(key.signer(), text.encode(), mode=SignatureMode.CLEAR)


def release_text(suite: str, packages: bytes = b"", *, extra: str = "", day: int = 1) -> str:
    packed = lzma.compress(packages)
    lines = "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/{name}\n"
        for name, content in (("Packages", packages), ("Packages.xz", packed))
    )
    return (
        f"Origin: Debian\nCodename: {suite}\nDate: Thu, {day:02} Jan 2026 06:30:00 UTC\n{extra}"
        f"MD5Sum:\n {'0' * 32} 1 main/binary-amd64/Packages\nSHA256:\n{lines}"
    )


@dataclass
class Mirror:
    """Files by path; `asked` notes every request."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @classmethod
    def with_release(cls, extra: str = "") -> Mirror:
        mirror = cls()
        for day, (path, suite) in enumerate(SUITES.items(), start=1):
            text = release_text(suite, packages_of(suite), extra=extra, day=day)
            mirror.files[f"/{path}/InRelease"] = signed(text)
            mirror.files[f"/{path}/main/binary-amd64/Packages.xz"] = lzma.compress(packages_of(suite))
        return mirror

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.path)
        content = self.files.get(request.url.path)
        return httpx2.Response(404) if content is None else httpx2.Response(200, content=content)

    def fetch(
        self, store: Path, archives: DebianArchives = ARCHIVES, progress: Progress = SILENT
    ) -> DebianIndexes:
        with make_client(httpx2.MockTransport(self.answer)) as client:
            return fetch_indexes(
                "trixie",
                "amd64",
                archives,
                Store(store),
                keyring=KEYRING,
                client=client,
                progress=progress,
            )


class Begun:
    """Progress that keeps the labels of what was begun."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    def task(self, label: str, total: int, unit: Unit = "items") -> AbstractContextManager[Task]:
        assert total
        self.labels.append(label)
        return SILENT.task(label, total, unit)

    def note(self, message: str) -> None:
        raise NotImplementedError


def test_progress_is_shown_where_something_is_fetched_alone(tmp_path: Path) -> None:
    first, second = Begun(), Begun()

    Mirror.with_release().fetch(tmp_path, progress=first)
    Mirror.with_release().fetch(tmp_path, progress=second)

    assert sorted(first.labels) == sorted(f"the index of {suite}" for suite in SUITES.values())
    assert second.labels == []


def test_indexes_arrive_unpacked_with_the_newest_date(tmp_path: Path) -> None:
    indexes = Mirror.with_release().fetch(tmp_path)

    assert indexes.snapshot == "20260103T063000Z"
    assert [(file.archive, file.suite) for file in indexes.packages] == [
        ("debian", "trixie"),
        ("debian", "trixie-updates"),
        ("debian-security", "trixie-security"),
    ]
    assert all(file.path.read_bytes() == packages_of(file.suite) for file in indexes.packages)


def test_a_second_reading_asks_for_the_signed_files_only(tmp_path: Path) -> None:
    mirror = Mirror.with_release()
    first = mirror.fetch(tmp_path)
    mirror.asked.clear()

    assert mirror.fetch(tmp_path) == first
    assert sorted(mirror.asked) == sorted(f"/{path}/InRelease" for path in SUITES)


def test_by_hash_is_preferred_and_the_plain_address_is_the_way_back(tmp_path: Path) -> None:
    mirror = Mirror.with_release(extra="Acquire-By-Hash: yes\n")

    mirror.fetch(tmp_path)

    digest = hashlib.sha256(lzma.compress(packages_of("trixie"))).hexdigest()
    folder = "/debian/dists/trixie/main/binary-amd64"
    asked = [path for path in mirror.asked if path.startswith(folder)]
    assert asked == [f"{folder}/by-hash/SHA256/{digest}", f"{folder}/Packages.xz"]


def test_a_swapped_packages_file_is_refused_and_not_kept(tmp_path: Path) -> None:
    mirror = Mirror.with_release()
    mirror.files["/debian/dists/trixie/main/binary-amd64/Packages.xz"] = lzma.compress(b"Package: evil\n\n")

    with pytest.raises(HashMismatchError):
        mirror.fetch(tmp_path)

    assert b"evil" not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_packed_file_that_unpacks_to_something_else_is_refused(tmp_path: Path) -> None:
    mirror = Mirror.with_release()
    bomb = lzma.compress(bytes(64 << 20))
    for path, suite in SUITES.items():
        right = lzma.compress(packages_of(suite))
        text = release_text(suite, packages_of(suite)).replace(
            f"{hashlib.sha256(right).hexdigest()} {len(right)} ",
            f"{hashlib.sha256(bomb).hexdigest()} {len(bomb)} ",
        )
        mirror.files[f"/{path}/InRelease"] = signed(text)
        mirror.files[f"/{path}/main/binary-amd64/Packages.xz"] = bomb

    with pytest.raises(HashMismatchError):
        mirror.fetch(tmp_path)


def test_a_truncated_file_in_the_store_is_fetched_again(tmp_path: Path) -> None:
    mirror = Mirror.with_release()
    (kept, *_) = mirror.fetch(tmp_path).packages
    kept.path.write_bytes(packages_of("trixie")[:5])

    mirror.fetch(tmp_path)

    assert kept.path.read_bytes() == packages_of("trixie")


def test_an_architecture_that_is_not_offered_is_an_error(tmp_path: Path) -> None:
    with (
        make_client(httpx2.MockTransport(Mirror.with_release().answer)) as client,
        pytest.raises(ResolveError, match="riscv64"),
    ):
        fetch_indexes("trixie", "riscv64", ARCHIVES, Store(tmp_path), keyring=KEYRING, client=client)


def test_a_release_that_the_mirror_lacks_is_gone(tmp_path: Path) -> None:
    with pytest.raises(GoneError):
        Mirror().fetch(tmp_path)


def test_a_changed_byte_breaks_the_signature() -> None:
    tampered = signed(release_text("trixie")).replace(b"Origin: Debian", b"Origin: Debiam")

    with pytest.raises(SignatureError):
        verified_release(tampered, "trixie", KEYRING)


def test_a_key_that_is_not_in_the_keyring_does_not_count() -> None:
    stranger = Tsk.generate("Stranger <stranger@example.org>")

    with pytest.raises(SignatureError):
        verified_release(signed(release_text("trixie"), stranger), "trixie", KEYRING)


@pytest.mark.parametrize("form", ["stripped", "bare", "empty", "signature alone"])
def test_without_its_signature_an_index_is_refused(form: str) -> None:
    whole = signed(release_text("trixie"))
    text, mark, signature = whole.partition(b"-----BEGIN PGP SIGNATURE-----")
    bad = {
        "stripped": text,
        "bare": release_text("trixie").encode(),
        "empty": b"",
        "signature alone": mark + signature,
    }

    with pytest.raises(SignatureError):
        verified_release(bad[form], "trixie", KEYRING)


def test_text_around_the_signed_part_is_left_behind() -> None:
    whole = b"Codename: evil\nDate: nonsense\n\n" + signed(release_text("trixie")) + b"\nCodename: evil\n"

    release = verified_release(whole, "trixie", KEYRING)

    assert release.date == datetime(2026, 1, 1, 6, 30, tzinfo=UTC)
    assert release.files.keys() == {"main/binary-amd64/Packages", "main/binary-amd64/Packages.xz"}


def test_another_suite_with_a_good_signature_is_refused() -> None:
    with pytest.raises(SignatureError, match="another suite"):
        verified_release(signed(release_text("bookworm")), "trixie", KEYRING)


def test_an_index_past_its_time_is_refused_unless_age_is_not_checked() -> None:
    old = signed(release_text("trixie", extra="Valid-Until: Thu, 08 Jan 2026 06:30:00 UTC\n"))
    in_time, late = datetime(2026, 1, 8, tzinfo=UTC), datetime(2026, 1, 9, tzinfo=UTC)

    assert verified_release(old, "trixie", KEYRING, now=in_time)
    assert verified_release(old, "trixie", KEYRING, now=late, check_age=False)
    with pytest.raises(SignatureError, match="out of date"):
        verified_release(old, "trixie", KEYRING, now=late)


def test_the_keyring_that_ships_holds_keys_of_both_releases() -> None:
    from pysequoia import Cert

    users = " ".join(str(user) for cert in Cert.split_bytes(debian_keyring()) for user in cert.user_ids)

    for name in ("bookworm", "trixie"):
        assert (
            f"Debian Archive Automatic Signing Key ({'12' if name == 'bookworm' else '13'}/{name})" in users
        )
        assert f"/{name}) <ftpmaster@" in users


def ubuntu_release(codename: str, suite: str, architecture: str) -> tuple[str, dict[str, bytes]]:
    """A release as Ubuntu signs it, one codename for all its suites, and the files that it lists."""
    files = {}
    lines = ""
    for component in ("main", "universe"):
        content = f"Package: hello\nVersion: 1~{suite}~{component}\n\n".encode()
        plain = f"{component}/binary-{architecture}/Packages"
        files[f"{plain}.xz"] = lzma.compress(content)
        for name, held in ((plain, content), (f"{plain}.xz", files[f"{plain}.xz"])):
            lines += f" {hashlib.sha256(held).hexdigest()} {len(held)} {name}\n"
    head = f"Origin: Ubuntu\nSuite: {suite}\nCodename: {codename}\nDate: Thu, 01 Jan 2026 06:30:00 UTC\n"
    return f"{head}SHA256:\n{lines}", files


@pytest.mark.parametrize(("architecture", "archive"), [("amd64", "ubuntu"), ("arm64", "ubuntu-ports")])
def test_a_release_of_ubuntus_has_two_components_in_one_archive(
    tmp_path: Path, architecture: str, archive: str
) -> None:
    mirror = Mirror()
    suites = ("noble", "noble-updates", "noble-security")
    for suite in suites:
        text, files = ubuntu_release("noble", suite, architecture)
        mirror.files[f"/{archive}/dists/{suite}/InRelease"] = signed(text)
        mirror.files |= {f"/{archive}/dists/{suite}/{name}": content for name, content in files.items()}
    archives = DebianArchives({archive: f"http://mirror.example/{archive}"})

    with make_client(httpx2.MockTransport(mirror.answer)) as client:
        found = fetch_indexes(
            "ubuntu:noble", architecture, archives, Store(tmp_path), keyring=KEYRING, client=client
        )

    assert [(file.archive, file.suite) for file in found.packages] == [
        (archive, suite) for suite in suites for _ in range(2)
    ]
    assert [file.path.read_text().split()[-1] for file in found.packages] == [
        f"1~{suite}~{component}" for suite in suites for component in ("main", "universe")
    ]


def test_another_suite_of_ubuntus_is_refused() -> None:
    text, _ = ubuntu_release("noble", "noble-proposed", "amd64")

    for suite in ("noble", "noble-updates"):
        with pytest.raises(SignatureError, match="another suite"):
            verified_release(signed(text), suite, KEYRING)
