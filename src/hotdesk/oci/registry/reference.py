"""Where an image is in which registry: `HOST[:PORT]/NAME[:TAG][@DIGEST]`.

Source: the grammar of distribution/reference, less its default registry: a host must be named.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from hotdesk.errors import UsageError
from hotdesk.oci.documents import is_digest

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?P<name>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LONGEST = 255
_EXAMPLE = "name it like `registry.example/team/desk:1`"


@dataclass(frozen=True, slots=True)
class Reference:
    """`registry` is a host with its port, if any; `digest`, where there is one, decides what `tag` means."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def host(self) -> str:
        """Without the port, and without an address' brackets."""
        found = _HOST.fullmatch(self.registry)
        return found["name"].strip("[]") if found else self.registry

    @property
    def version(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return self.digest or self.tag

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this very machine, where nobody listens on the way."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def at(self, digest: str) -> Reference:
        return replace(self, digest=digest)


def parse_reference(text: str) -> Reference:
    """`UsageError` for what is no reference; the tag is `latest` where neither tag nor digest is given."""
    if "://" in text:
        raise _refused(text, "it begins with a scheme", "leave out what stands before the host")
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _refused(text, f"`{digest}` is no digest", "a digest is `sha256:` and 64 hexadecimal digits")
    host, slash, path = rest.partition("/")
    if not slash or not _names_host(host):
        raise _refused(text, "it names no registry, and hotdesk has no default one", _EXAMPLE)
    if not (found := _HOST.fullmatch(host)) or not _is_port(found["port"]) or not _is_address(found["name"]):
        raise _refused(text, f"`{host}` is no host", _EXAMPLE)
    repository, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _refused(
            text, f"`{tag}` is no tag", "a tag has up to 128 letters, digits, `.`, `_`, `-`, and no `/`"
        )
    if not _REPOSITORY.fullmatch(repository):
        hint = "a repository has lower-case letters, digits, and single `.`, `_` and `-` between them"
        raise _refused(text, f"`{repository}` is no repository", hint)
    if len(host) + 1 + len(repository) > _LONGEST:
        raise _refused(text, f"it has more than {_LONGEST} characters", _EXAMPLE)
    return Reference(host, repository, tag or ("" if digest else "latest"), digest)


def _names_host(host: str) -> bool:
    """`localhost/x` does, `team/x` does not: as everywhere where images have names."""
    return "." in host or ":" in host or host == "localhost"


def _is_port(port: str | None) -> bool:
    return port is None or 0 < int(port) < 1 << 16


def _is_address(name: str) -> bool:
    if not name.startswith("["):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).version == 6
    except ValueError:
        return False


def _refused(text: str, why: str, hint: str) -> UsageError:
    return UsageError(f"`{text}` is no reference to an image", why=why, hint=hint)
