"""Where this machine gets Debian's packages from: its mirrors, and an archive of what mirrors dropped.

No address is built in. In order: `HOTDESK_DEBIAN_…`, the table `[debian]` of the user's `config.toml`, the
machine's apt configuration.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from hotdesk.errors import IndexConfigurationError, SettingsError
from hotdesk.indexes.apt_config import (
    DEBIAN,
    SECURITY,
    UBUNTU,
    UBUNTU_PORTS,
    AptSettings,
    AptSource,
    archive_of,
    read_settings,
    read_sources,
    snapshot_base_of,
)
from hotdesk.indexes.http import without_credentials
from hotdesk.settings import read_settings as read_user_settings
from hotdesk.settings import settings_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotdesk.lock import Artifact

SNAPSHOT_FORMAT = "%Y%m%dT%H%M%SZ"
_VARIABLES = {
    DEBIAN: "HOTDESK_DEBIAN_MIRROR",
    SECURITY: "HOTDESK_DEBIAN_SECURITY_MIRROR",
    UBUNTU: "HOTDESK_UBUNTU_MIRROR",
    UBUNTU_PORTS: "HOTDESK_UBUNTU_PORTS_MIRROR",
}
_KEYS = {DEBIAN: "mirror", SECURITY: "security-mirror"}


@dataclass(frozen=True, slots=True)
class DebianArchives:
    """Addresses without a trailing slash.

    `mirrors` maps an archive (`debian`, `debian-security`, `ubuntu`, `ubuntu-ports`) to its mirror.
    `snapshot` is the base of a snapshot archive of Debian's, below which lies `archive/ARCHIVE/TIME/`.
    """

    mirrors: Mapping[str, str]
    snapshot: str | None = None
    check_valid_until: bool = True

    def mirror(self, archive: str) -> str:
        """The mirror of `archive`; `IndexConfigurationError` where the machine names none."""
        if archive in self.mirrors:
            return self.mirrors[archive]
        setting = (
            f", or `{_KEYS[archive]}` in the table `[debian]` of {settings_path()}"
            if archive in _KEYS
            else ""
        )
        raise IndexConfigurationError(
            f"no mirror of the archive `{archive}` is known",
            why="this machine's apt names none, and hotdesk has no address built in",
            hint=f"set {_VARIABLES[archive]} to the address of a mirror (it ends in `/{archive}`){setting}",
        )

    def locations(self, artifact: Artifact, snapshot: str) -> list[str]:
        """Addresses of a locked .deb, best first; `snapshot` is the lock's time.

        A file that the mirror took in at that very time is in the snapshot after it, so the day after
        is tried as well.
        """
        file = quote(artifact.file, safe="/+~:")
        urls = [f"{self.mirrors[artifact.project]}/{file}"] if artifact.project in self.mirrors else []
        if self.snapshot and artifact.project in (DEBIAN, SECURITY):
            taken = datetime.strptime(snapshot, SNAPSHOT_FORMAT)
            for time in (taken, taken + timedelta(days=1)):
                stamp = time.strftime(SNAPSHOT_FORMAT)
                urls.append(f"{self.snapshot}/archive/{artifact.project}/{stamp}/{file}")
        return urls or [f"{self.mirror(artifact.project)}/{file}"]


def locations(artifact: Artifact, snapshot: str) -> list[str]:
    """Where this machine may get a locked .deb, best first; the caller checks the hash."""
    return debian_archives().locations(artifact, snapshot)


@cache
def debian_archives() -> DebianArchives:
    """What this process's environment and this machine say; read once."""
    return find_archives(
        os.environ, user_settings(settings_path()), read_sources(Path("/etc/apt")), read_settings()
    )


def find_archives(
    environment: Mapping[str, str],
    user: Mapping[str, str],
    sources: list[AptSource],
    settings: AptSettings,
) -> DebianArchives:
    """Choose among the places that may name a mirror, the most particular first."""
    apt: dict[str, AptSource] = {}
    for source in sources:
        if archive := source.archive:
            apt.setdefault(archive, source)
    own_main = environment.get("HOTDESK_DEBIAN_MIRROR") or user.get("mirror")
    own_security = environment.get("HOTDESK_DEBIAN_SECURITY_MIRROR") or user.get("security-mirror")
    mirrors: dict[str, str] = {}
    if main := own_main or (apt[DEBIAN].uri if DEBIAN in apt else None):
        mirrors[DEBIAN] = _checked(main, "HOTDESK_DEBIAN_MIRROR")
    apt_security = apt[SECURITY].uri if SECURITY in apt and not own_main else None
    if security := own_security or apt_security or _sibling(mirrors.get(DEBIAN)):
        mirrors[SECURITY] = _checked(security, "HOTDESK_DEBIAN_SECURITY_MIRROR")
    for archive in (UBUNTU, UBUNTU_PORTS):
        if named := environment.get(_VARIABLES[archive]) or (apt[archive].uri if archive in apt else None):
            mirrors[archive] = _checked(named, _VARIABLES[archive])
    dated = [base for uri in mirrors.values() if (base := snapshot_base_of(uri))]
    snapshot = environment.get("HOTDESK_DEBIAN_SNAPSHOT") or user.get("snapshot")
    return DebianArchives(
        mirrors=mirrors,
        snapshot=_checked(snapshot, "HOTDESK_DEBIAN_SNAPSHOT") if snapshot else next(iter(dated), None),
        # A dated mirror is old by intent.
        check_valid_until=settings.check_valid_until
        and not dated
        and all(source.check_valid_until for source in apt.values()),
    )


def _sibling(main: str | None) -> str | None:
    """The security archive beside a mirror, by the layout that Debian's mirrors share."""
    if main is None or archive_of(main) != DEBIAN:
        return None
    if snapshot_base_of(main):
        return main.replace(f"/archive/{DEBIAN}/", f"/archive/{SECURITY}/")
    return f"{main}-security"


def _checked(uri: str, variable: str) -> str:
    parts = urlsplit(uri)
    if not (parts.scheme in {"http", "https"} and parts.netloc) and parts.scheme != "file":
        raise IndexConfigurationError(
            f"`{without_credentials(uri)}` is not the address of a Debian mirror",
            why="only http, https and file addresses are supported",
            hint=f"correct {variable}, or the table `[debian]` of {settings_path()}",
        )
    return uri.rstrip("/")


def user_settings(path: Path) -> Mapping[str, str]:
    try:
        table = read_user_settings(path).get("debian", {})
    except SettingsError as error:
        raise IndexConfigurationError(error.what, why=error.why) from None
    known = ("mirror", "security-mirror", "snapshot")
    if not isinstance(table, dict) or not all(
        key in known and isinstance(value, str) for key, value in table.items()
    ):
        raise IndexConfigurationError(
            f"the table `[debian]` of {path} is not understood",
            why=f"it may hold {', '.join(f'`{key}`' for key in known)}, each an address in quotes",
        )
    return table
