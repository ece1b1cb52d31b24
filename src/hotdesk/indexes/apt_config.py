"""What this machine's apt says about Debian and Ubuntu: their mirrors, and whether old indexes are accepted.

Sources: sources.list(5), apt.conf(5).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBIAN = "debian"
SECURITY = "debian-security"
UBUNTU = "ubuntu"
UBUNTU_PORTS = "ubuntu-ports"

_KEYRINGS = {DEBIAN: "debian-archive-", SECURITY: "debian-archive-"}
_KEYRINGS |= dict.fromkeys((UBUNTU, UBUNTU_PORTS), "ubuntu-archive-")

_SNAPSHOT = re.compile(r"(?P<base>.*)/archive/(?P<archive>debian|debian-security)/[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True, slots=True)
class AptSource:
    """One address of packages with its suites; `signed_by` is a path, or an embedded key, or empty."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    check_valid_until: bool = True

    @property
    def archive(self) -> str | None:
        """`debian`, `debian-security`, `ubuntu` or `ubuntu-ports` where this is one of their own archives.

        Other publishers also end their address in `/debian`; they bring a key or components of their own.
        """
        if urlsplit(self.uri).scheme not in {"http", "https", "file"} or "main" not in self.components:
            return None
        archive = archive_of(self.uri)
        keyring = self.signed_by.rpartition("/")[2]
        if archive and self.signed_by and not keyring.startswith(_KEYRINGS[archive]):
            return None
        return archive


@dataclass(frozen=True, slots=True)
class AptSettings:
    """The part of apt's configuration that matters here."""

    check_valid_until: bool = True


def archive_of(uri: str) -> str | None:
    """Which of Debian's or Ubuntu's archives an address names by its path, a dated one included."""
    path = urlsplit(uri).path.rstrip("/")
    if match := _SNAPSHOT.fullmatch(path):
        return match["archive"]
    name = path.rpartition("/")[2]
    return name if name in _KEYRINGS else None


def snapshot_base_of(uri: str) -> str | None:
    """The address of the snapshot archive where `uri` is a dated mirror in one (`…/archive/debian/TIME`)."""
    match = _SNAPSHOT.fullmatch(uri.rstrip("/"))
    return match["base"] if match else None


def read_sources(etc_apt: Path) -> list[AptSource]:
    """Every enabled source of binary packages below `etc_apt` (/etc/apt), in apt's own order."""
    parts = etc_apt / "sources.list.d"
    files = [etc_apt / "sources.list"]
    if parts.is_dir():
        files += sorted(path for path in parts.iterdir() if path.suffix in {".list", ".sources"})
    found: list[AptSource] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # absent, or not for this user's eyes
        for source in _from_deb822(text) if path.suffix == ".sources" else _from_lines(text):
            found += [replace(source, uri=uri) for uri in _mirrors(source.uri)]
    return found


def _mirrors(uri: str) -> list[str]:
    """The addresses in the list that `mirror+file:` names (apt-transport-mirror(1)); else `uri` itself."""
    if not uri.startswith("mirror+file:"):
        return [uri]
    try:
        lines = Path(urlsplit(uri).path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def _from_lines(text: str) -> Iterator[AptSource]:
    """The one-line format: `deb [option=value …] uri suite component…`."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<rest>[^#]*)", line)
        words = match["rest"].split() if match else []
        if match is None or len(words) < 2:
            continue
        options = dict(option.partition("=")[::2] for option in (match["options"] or "").split())
        yield AptSource(
            uri=words[0],
            suites=(words[1],),
            components=tuple(words[2:]),
            signed_by=options.get("signed-by", ""),
            check_valid_until=not _is_no(options.get("check-valid-until", "")),
        )


def _from_deb822(text: str) -> Iterator[AptSource]:
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or _is_no(fields.get("enabled", "")):
            continue
        for uri in fields.get("uris", "").split():
            yield AptSource(
                uri=uri,
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                check_valid_until=not _is_no(fields.get("check-valid-until", "")),
            )


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in {" ", "\t"} and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _is_no(value: str) -> bool:
    return value.strip().lower() in {"no", "false", "0", "off", "without", "disable"}


def read_settings() -> AptSettings:
    """What `apt-config` answers; apt's defaults where the machine has none."""
    program = shutil.which("apt-config")
    if program is None:
        return AptSettings()
    dump = subprocess.run([program, "dump"], capture_output=True, text=True, check=False)
    return parse_settings(dump.stdout)


def parse_settings(dump: str) -> AptSettings:
    """The settings in the output of `apt-config dump`."""
    values = dict(re.findall(r'^(\S+) "(.*)";$', dump, re.MULTILINE))
    return AptSettings(
        check_valid_until=not _is_no(values.get("Acquire::Check-Valid-Until", "")),
    )
