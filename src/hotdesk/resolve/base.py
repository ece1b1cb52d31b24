"""The image that a spec names as its base: which one it is today, and what Debian system is in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.build.base import bring_image, locked_blobs
from hotdesk.errors import ImageError, ResolveError, UsageError
from hotdesk.layers.debian_relations import split_version
from hotdesk.lock_base import LockedBase
from hotdesk.lock_words import checked
from hotdesk.oci.files import read_files
from hotdesk.oci.pulled import pulled_image
from hotdesk.progress import SILENT
from hotdesk.spec import BASES, OCI

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hotdesk.oci.pulled import PulledImage
    from hotdesk.oci.registry.reference import Reference
    from hotdesk.progress import Progress
    from hotdesk.resolve.debian_universe import Candidate, Universe
    from hotdesk.store import Store

STATUS = "var/lib/dpkg/status"
RELEASE_FILES = ("etc/os-release", "usr/lib/os-release")
UBUNTU_KEYRING = "usr/share/keyrings/ubuntu-archive-keyring.gpg"
MOST_LAYERS = 50
"""Of an image that is a base: a desk adds up to 43, and an image of hotdesk's has at most 100."""

_FIELD = re.compile(r'^(?P<name>[A-Z_]+)=(?P<quote>["\']?)(?P<value>.*)(?P=quote)$', re.MULTILINE)
_UBUNTU = "ubuntu:"
_CODENAME = re.compile(r"[a-z]+")
_INTERPRETER = re.compile(r"python(3\.[0-9]+)")
_UPSTREAM = re.compile(r"(?:[0-9]+:)?(?P<python>3\.[0-9]+\.[0-9]+)")
_GLIBC = re.compile(r"(?:[0-9]+:)?2\.(?P<minor>[0-9]+)")


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image in the store with the system in it; `installed` are dpkg's stanzas of its packages.

    `keyring` are the keys by which apt in it knows its archive: whoever made the image could have put there
    whatever a package brings. Empty for Debian, whose keys hotdesk has itself.
    """

    image: PulledImage
    release: str
    installed: bytes
    keyring: bytes = b""

    def locked(self, python: str, answers: Iterable[Iterable[Candidate]]) -> LockedBase:
        """What a lock has of it; `answers` are the packages of each variant, which all hold these two."""
        versions = {one.name: one.version for answer in answers for one in answer}
        manifest, config, layers = locked_blobs(self.image)
        return LockedBase(
            manifest,
            config,
            layers,
            self.release,
            _version(_UPSTREAM, f"python{python}", versions)["python"],
            int(_version(_GLIBC, "libc6", versions)["minor"]),
        )


def _version(pattern: re.Pattern[str], package: str, versions: Mapping[str, str]) -> re.Match[str]:
    found = pattern.match(versions.get(package, ""))
    if found is None:
        why = f"it has `{package}` in the version {versions.get(package, 'none')!r}"
        raise _unfit(why, "use an image of Debian as `base`")
    return found


def find_base(
    store: Store, source: str, platform: str, locked: LockedBase | None, progress: Progress = SILENT
) -> BaseImage:
    """The image at the spec's reference `source`, or the `locked` one, for `platform`.

    `NoPlatformError` where it is for other platforms, `UsageError` for what is no reference.
    """
    if locked:
        bring_image(store, locked, source, platform, progress=progress)
        digest = locked.digest
    else:
        from hotdesk.oci.registry.pull import pull

        digest = pull(store, reference_of(source), platform, progress=progress).digest
    with store.using([("pulled", digest.removeprefix("sha256:"))]):
        image = pulled_image(store, digest)
        if len(image.layers) > MOST_LAYERS:
            why = f"it has {len(image.layers)} layers, and a desk's own find room on at most {MOST_LAYERS}"
            raise _unfit(why, "build it again with fewer layers, or flatten it")
        files = read_files(image, (STATUS, *RELEASE_FILES, UBUNTU_KEYRING), progress)
    if STATUS not in files:
        raise _unfit(f"it has no /{STATUS}: there is no dpkg in it", "use an image of Debian as `base`")
    release = release_of(next((files[path] for path in RELEASE_FILES if path in files), b""))
    keyring = files.get(UBUNTU_KEYRING, b"") if release.startswith(_UBUNTU) else b""
    if release.startswith(_UBUNTU) and not keyring:
        raise _unfit(f"it has no /{UBUNTU_KEYRING}", "use an image with the package `ubuntu-keyring`")
    return BaseImage(image, release, installed_in(files[STATUS], platform.split("/")[1]), keyring)


def reference_of(source: str) -> Reference:
    from hotdesk.oci.registry.reference import parse_reference

    try:
        return parse_reference(source)
    except UsageError as error:
        why, hint = f"{error.what}: {error.why}", f"correct `base` in `hotdesk.toml`; {error.hint}"
        raise ResolveError(f"`{OCI}{source}` cannot be the base", why=why, hint=hint) from None


def release_of(os_release: bytes) -> str:
    """The release in an image, such as `debian:trixie`, by its os-release(5)."""
    text = os_release.decode("utf-8", "replace")
    fields = {match["name"]: match["value"] for match in _FIELD.finditer(text)}
    system, codename = fields.get("ID", ""), fields.get("VERSION_CODENAME", "")
    release = f"{system}:{codename}"
    if release in BASES or (release.startswith(_UBUNTU) and _CODENAME.fullmatch(codename)):
        return release
    called = (
        f"`{system}:{codename}`"
        if codename
        else f"`{system}`"
        if system
        else "nothing that os-release(5) tells"
    )
    known = f"{', '.join(f'`{name}`' for name in BASES)} and Ubuntu"
    raise _unfit(f"it is {called}, and hotdesk installs packages on {known}", f"use an image of {known}")


def installed_in(status: bytes, architecture: str) -> bytes:
    """The stanzas of dpkg's status file for what is installed, and is not of a foreign architecture."""
    kept = []
    try:
        for stanza in status.decode().split("\n\n"):
            lines = (line.partition(":") for line in stanza.split("\n") if line[:1] not in ("", " ", "\t"))
            fields = {name: value.strip() for name, _, value in lines}
            native = fields.get("Architecture") in (architecture, "all")
            if fields.get("Status", "").split()[1:] == ["ok", "installed"] and native:
                checked("debian-name", fields["Package"])
                split_version(fields["Version"])
                kept.append(stanza.strip("\n") + "\n")
    except (ValueError, KeyError) as error:
        raise _unfit(f"its /{STATUS} is damaged: {error}", "use another image") from None
    return "\n".join(kept).encode()


def python_requests(universe: Universe, python: str) -> list[str]:
    """The packages to ask for so that the desk has its interpreter; `ResolveError` where none has it."""
    name = f"python{python}"
    if not universe.versions(name):
        found = (_INTERPRETER.fullmatch(other) for other in universe.names)
        offered = sorted((match[1] for match in found if match), key=lambda version: int(version[2:]))
        raise ResolveError(
            f"there is no Python {python} for this base",
            why=f"the image has no `{name}`, and its release offers Python {' and '.join(offered) or 'none'}",
            hint="change `python` in `hotdesk.toml`, or use another base",
        )
    default = universe.versions("python3")
    goes_with = any(
        name == relation.name for one in default[:1] for group in one.depends for relation in group
    )
    return ["python3", name] if goes_with else [name]


def _unfit(why: str, hint: str) -> ImageError:
    return ImageError("the image cannot be the base of a desk", why=why, hint=hint)
