"""The indexes of Debian and Ubuntu: `InRelease`, signed, and the `Packages` that it vouches for.

Nothing of an index is read before it is verified: `InRelease` by its OpenPGP signature, `Packages.xz` by
the size and SHA-256 that the signed text states. Format: Debian's wiki, DebianRepository/Format.
"""

from __future__ import annotations

import hashlib
import lzma
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib import resources
from typing import TYPE_CHECKING

from hotdesk.errors import GoneError, HashMismatchError, ResolveError, SignatureError, StoreError
from hotdesk.indexes.apt_config import DEBIAN, SECURITY, UBUNTU, UBUNTU_PORTS
from hotdesk.indexes.debian import SNAPSHOT_FORMAT, DebianArchives
from hotdesk.indexes.http import get, make_client
from hotdesk.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    import httpx2

    from hotdesk.store import Store

INRELEASE_LIMIT = 16 << 20
PACKAGES_LIMIT = 512 << 20
STEP = 64 << 10


@dataclass(frozen=True, slots=True)
class PackagesFile:
    """A verified `Packages`, unpacked, on disk."""

    archive: str
    suite: str
    path: Path


@dataclass(frozen=True, slots=True)
class DebianIndexes:
    """All that one release offers for one architecture, the release itself first.

    `snapshot` is the newest date of its indexes, `YYYYMMDDTHHMMSSZ`.
    """

    snapshot: str
    packages: tuple[PackagesFile, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """What a release states about one of its files."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Release:
    """The verified content of an `InRelease`; `files` maps a path below the suite to what it must be."""

    suite: str
    date: datetime
    by_hash: bool
    files: Mapping[str, Listed]


@dataclass(frozen=True, slots=True)
class Suite:
    """A part of a release, in one archive."""

    archive: str
    name: str
    components: tuple[str, ...] = ("main",)


def suites_of(release: str, architecture: str) -> tuple[Suite, ...]:
    """All that makes up a release such as `trixie` or `ubuntu:noble`, in the order of their say."""
    system, _, codename = release.rpartition(":")
    if system == "ubuntu":
        archive = UBUNTU if architecture == "amd64" else UBUNTU_PORTS
        names = (codename, f"{codename}-updates", f"{codename}-security")
        return tuple(Suite(archive, name, ("main", "universe")) for name in names)
    return (
        Suite(DEBIAN, codename),
        Suite(DEBIAN, f"{codename}-updates"),
        Suite(SECURITY, f"{codename}-security"),
    )


def fetch_indexes(
    release: str,
    architecture: str,
    archives: DebianArchives,
    store: Store,
    *,
    keyring: bytes | None = None,
    client: httpx2.Client | None = None,
    progress: Progress = SILENT,
) -> DebianIndexes:
    """The indexes of `release` (`trixie`, `ubuntu:noble`) for `architecture` (`amd64`), verified.

    `keyring` is Debian's where none is given.
    Only the `InRelease` files are fetched anew when the rest is in the store. Raises `SignatureError`,
    `HashMismatchError`, `FetchError`, and `ResolveError` where the release is not made for the architecture.
    """
    suites = suites_of(release, architecture)
    mirrors = {suite.archive: archives.mirror(suite.archive) for suite in suites}
    keys = keyring if keyring is not None else debian_keyring()
    opened = nullcontext(client) if client else make_client()
    with opened as http:

        def read(suite: Suite) -> tuple[Release, list[PackagesFile]]:
            base = f"{mirrors[suite.archive]}/dists/{suite.name}"
            signed = get(http, f"{base}/InRelease", most=INRELEASE_LIMIT).body
            found = verified_release(signed, suite.name, keys, check_age=archives.check_valid_until)
            files = []
            for component in suite.components:
                listed = f"{component}/binary-{architecture}/Packages"
                path = _packages(http, base, found, plain=listed, store=store, progress=progress)
                files.append(PackagesFile(suite.archive, suite.name, path))
            return found, files

        with ThreadPoolExecutor(max_workers=3) as pool:
            results = list(pool.map(read, suites))
    newest = max(found.date for found, _ in results)
    packages = tuple(file for _, files in results for file in files)
    return DebianIndexes(newest.strftime(SNAPSHOT_FORMAT), packages)


def debian_keyring() -> bytes:
    """The keys of Debian's archives, as Debian publishes them in `debian-archive-keyring`."""
    return resources.files("hotdesk").joinpath("data/debian-archive-keyring.asc").read_bytes()


def verified_release(
    signed: bytes,
    suite: str,
    keyring: bytes,
    *,
    check_age: bool = True,
    now: datetime | None = None,
) -> Release:
    """The release in a clear-signed `InRelease`; `SignatureError` unless a key of `keyring` made it so."""
    fields, files = _parse_release(_verified_text(signed, suite, keyring))
    named = _suite_named(fields)
    if named != suite:
        raise SignatureError(
            f"the mirror gives another suite for `{suite}`",
            why=f"its signed index is the one of `{named}`",
            hint="check the address of the mirror, or use another one",
        )
    valid_until = fields.get("Valid-Until")
    if check_age and valid_until and (now or datetime.now(UTC)) > _date(valid_until, suite):
        raise SignatureError(
            f"the index of `{suite}` is out of date",
            why=f"it was valid until {valid_until}: the mirror, or somebody between, withholds newer ones",
            hint="use another mirror, or check this machine's clock; for an old mirror by intent set apt's "
            "`Acquire::Check-Valid-Until` to `false`",
        )
    return Release(
        suite=suite,
        date=_date(fields.get("Date", ""), suite),
        by_hash=fields.get("Acquire-By-Hash", "").lower() == "yes",
        files=files,
    )


def _suite_named(fields: Mapping[str, str]) -> str:
    """By Debian's codenames, one for each suite; Ubuntu has one for a whole release."""
    codename, suite = fields.get("Codename", ""), fields.get("Suite", "")
    return suite if codename and suite.startswith(f"{codename}-") else codename


def _verified_text(signed: bytes, suite: str, keyring: bytes) -> str:
    from pysequoia import Cert, verify

    certificates = Cert.split_bytes(keyring)
    try:
        # Only what was signed comes out; text before or after it is left behind.
        verified = verify(signed, lambda _: certificates)
    except RuntimeError as error:  # the one type that pysequoia raises
        reason = str(error).partition("\n")[0]
        raise SignatureError(
            f"the index of `{suite}` has no valid signature of Debian's archive",
            why=f"{reason} The mirror, or somebody between, may have changed it",
            hint="use another mirror; if this is a new Debian release, update hotdesk",
        ) from None
    if not verified.valid_sigs or verified.bytes is None:
        raise SignatureError(f"the index of `{suite}` is not signed")
    return verified.bytes.decode("utf-8", errors="strict")


def _parse_release(text: str) -> tuple[dict[str, str], dict[str, Listed]]:
    """The one-line fields, and the list `SHA256`; lists of weaker hashes are passed over."""
    fields: dict[str, str] = {}
    files: dict[str, Listed] = {}
    name = ""
    for line in text.splitlines():
        if not line.startswith(" "):
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif name == "SHA256":
            words = line.split()
            if len(words) == 3 and words[1].isdecimal():
                files[words[2]] = Listed(int(words[1]), words[0].lower())
    return fields, files


def _date(value: str, suite: str) -> datetime:
    try:
        return parsedate_to_datetime(value.replace("UTC", "+0000")).astimezone(UTC)
    except (ValueError, TypeError):
        raise SignatureError(
            f"the index of `{suite}` has no readable date", why=f"it says {value!r}"
        ) from None


def _packages(
    http: httpx2.Client, base: str, release: Release, *, plain: str, store: Store, progress: Progress
) -> Path:
    """The file `plain` (`main/binary-amd64/Packages`), unpacked, in the store under its SHA-256."""
    unpacked, packed = release.files.get(plain), release.files.get(f"{plain}.xz")
    if unpacked is None or packed is None:
        raise ResolveError(
            f"`{release.suite}` has no packages for `{plain.split('/')[1].removeprefix('binary-')}`",
            why=f"its index does not list {plain}.xz",
        )
    if max(packed.size, unpacked.size) > PACKAGES_LIMIT:
        raise ResolveError(f"the index of `{release.suite}` is too large", why=f"{unpacked.size} bytes")
    final = store.download(unpacked.sha256)
    if _is_there(final, unpacked):
        return final
    with store.exclusive(f"packages-{unpacked.sha256}"):
        if not _is_there(final, unpacked):
            with progress.task(f"the index of {release.suite}", packed.size, "bytes") as task:
                compressed = _verified_bytes(http, base, f"{plain}.xz", packed, by_hash=release.by_hash)
                task.advance(packed.size)
                _keep(compressed, unpacked, final, store)
    return final


def _is_there(final: Path, listed: Listed) -> bool:
    try:
        return final.stat().st_size == listed.size
    except FileNotFoundError:
        return False


def _keep(compressed: bytes, unpacked: Listed, final: Path, store: Store) -> None:
    """Unpack into the store, if that gives what was signed."""
    with store.scratch() as scratch:
        target = scratch / "Packages"
        try:
            with target.open("wb") as file:
                digest = _unpack(compressed, unpacked.size, file)
            final.parent.mkdir(parents=True, exist_ok=True)
        except lzma.LZMAError as error:
            digest = str(error)
        except OSError as error:
            raise StoreError(
                f"the store at {store.root} cannot take Debian's index",
                why=f"{error.strerror}; it needs {unpacked.size >> 20} MiB",
                hint="free some space (`hotdesk cache gc`), or set HOTDESK_STORE to another folder",
            ) from error
        if digest != unpacked.sha256:
            raise HashMismatchError(
                "an unpacked index is not what Debian signed",
                why=f"expected {unpacked.sha256}, got {digest}",
                hint="use another mirror",
            )
        target.replace(final)


def _verified_bytes(http: httpx2.Client, base: str, path: str, listed: Listed, *, by_hash: bool) -> bytes:
    plain = f"{base}/{path}"
    addresses = [plain]
    if by_hash:
        addresses.insert(0, f"{base}/{path.rpartition('/')[0]}/by-hash/SHA256/{listed.sha256}")
    for address in addresses:
        try:
            body = get(http, address, most=listed.size + INRELEASE_LIMIT).body
        except GoneError:
            continue
        if len(body) == listed.size and hashlib.sha256(body).hexdigest() == listed.sha256:
            return body
    raise HashMismatchError(
        f"{plain} is not what the signed index says",
        why="the mirror is in the middle of an update, or the file was changed on its way",
        hint="try again in some minutes, or use another mirror",
    )


def _unpack(compressed: bytes, size: int, file: BinaryIO) -> str:
    """Unpack into `file`, at most `size` bytes and a little, and return the SHA-256 of what was unpacked."""
    digest = hashlib.sha256()
    decompressor = lzma.LZMADecompressor(memlimit=256 << 20)
    written = 0
    for start in range(0, len(compressed), STEP):
        data = decompressor.decompress(compressed[start : start + STEP], max_length=size + 1 - written)
        digest.update(data)
        written += file.write(data)
        if written > size or decompressor.eof:
            break
    return digest.hexdigest()
