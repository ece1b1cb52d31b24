"""Whose certificates a registry may show: the system's authorities, and those told for this registry.

The folders are those of Docker and Podman: `certs.d/HOST[:PORT]/` with `*.crt` for authorities, and `*.cert`
with `*.key` for a certificate of our own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.errors import RegistryError
from hotdesk.indexes.http import tls

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from hotdesk.oci.registry.reference import Reference


def context_for(reference: Reference, environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """What checks the certificate of this registry, and of the hosts it sends us to."""
    import ssl

    context = tls()
    for folder in folders(environment):
        place = folder / reference.registry
        try:
            for file in sorted(place.iterdir()):
                if file.suffix == ".crt":
                    context.load_verify_locations(cafile=file)
                elif file.suffix == ".cert":
                    context.load_cert_chain(file, file.with_suffix(".key"))
        except (FileNotFoundError, NotADirectoryError):
            if place.is_dir():
                raise _unreadable(place, "a `.cert` needs a `.key` of the same name beside it") from None
        except (OSError, ssl.SSLError) as error:
            raise _unreadable(place, str(error)) from None
    return context


def folders(environment: Mapping[str, str]) -> list[Path]:
    """Where Docker and Podman look, as root and as a user."""
    home = Path(environment.get("HOME") or Path.home())
    own = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    users = [own / "containers", own / "docker", docker]
    return [parent / "certs.d" for parent in (*users, Path("/etc/containers"), Path("/etc/docker"))]


def _unreadable(place: Path, why: str) -> RegistryError:
    return RegistryError(
        f"the certificates in {place} cannot be read", why=why, hint="mend them, or move them out of there"
    )
