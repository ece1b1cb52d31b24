"""The little of the host that a sandbox gets to know: read once, plain data from then on."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.engines.request import HOME, PATH, PREFIX, USER
from hotdesk.portable.files import is_read_only
from hotdesk.portable.machine import memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hotdesk.engines.request import Request

_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CA_INSIDE = "/run/hotdesk/ca.pem"
_PASSED = ("TERM", "COLORTERM", "NO_COLOR")
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")

# The kernel lets the host's root, whose files these are, use them without any capability: a user namespace
# changes nothing about that. The keys are those of the caller, whoever that is.
_PROTECTED = ("/proc/sys", "/proc/fs", "/proc/scsi", "/proc/mtrr", "/proc/sysrq-trigger")
_HIDDEN = (
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/slabinfo",
    "/proc/timer_list",
    "/proc/vmallocinfo",
)


@dataclass(frozen=True, slots=True)
class Host:
    """What a sandbox needs to know of the machine it runs on.

    `memory` is in bytes. `resolver` is the file behind /etc/resolv.conf; `ca_bundle` the certificates that
    the caller's own tools were told to trust. `hardware` are folders of /sys that say how many processors
    and memory nodes there are: without them thread pools guess wrong. `environment` are the variables of
    the caller that pass. `protected` and `hidden` are what there is of `/proc` that must not be written, or
    not even read, where the caller is root or has keys. `can_forbid_namespaces`: whether bwrap's
    --disable-userns works here.
    """

    memory: int
    resolver: Path | None = None
    hosts: str = ""
    time_zone: str = "UTC"
    ca_bundle: Path | None = None
    hardware: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    can_forbid_namespaces: bool = True

    def kernel_options(self) -> list[str]:
        """Bubblewrap's options for `/proc` and `/dev`, closed also to a caller who is root."""
        options = ["--proc", "/proc", "--dev", "/dev"]
        for path in self.protected:
            options += ["--ro-bind", path, path]
        for path in self.hidden:
            options += ["--ro-bind", os.devnull, path]
        return options


def read_host(environment: Mapping[str, str] | None = None, top: Path = Path("/")) -> Host:
    """What this machine is, as the caller with this `environment` sees it."""
    environment = os.environ if environment is None else environment
    resolver = Path(os.path.realpath(top / "etc/resolv.conf"))
    hardware = (top / "sys/devices/system" / name for name in ("cpu", "node"))
    return Host(
        memory=memory(),
        resolver=resolver if resolver.is_file() else None,
        hosts=_text(top / "etc/hosts"),
        time_zone=_time_zone(environment, top),
        ca_bundle=_ca_bundle(environment),
        hardware=tuple(path for path in hardware if path.is_dir()),
        environment=_passed(environment),
        protected=_existing(_PROTECTED, top),
        hidden=_existing(_HIDDEN, top),
        can_forbid_namespaces=can_forbid_namespaces(top),
    )


def can_forbid_namespaces(top: Path = Path("/")) -> bool:
    """Whether /proc/sys/user can be written by those who may: a container often mounts it read-only."""
    folder = top / "proc/sys/user"
    try:
        return not is_read_only(folder) and (folder / "max_user_namespaces").exists()
    except OSError:
        return False


def _passed(environment: Mapping[str, str]) -> dict[str, str]:
    names = (*_PASSED, *_PROXIES, *(name.upper() for name in _PROXIES))
    return {name: environment[name] for name in names if name in environment}


def _existing(paths: Iterable[str], top: Path) -> tuple[str, ...]:
    return tuple(path for path in paths if (top / path[1:]).exists())


def _ca_bundle(environment: Mapping[str, str]) -> Path | None:
    for name in _CA_VARIABLES:
        path = environment.get(name, "")
        if path and Path(path).is_file():
            return Path(os.path.realpath(path))
    return None


def _time_zone(environment: Mapping[str, str], top: Path) -> str:
    """The name of the zone, so that the desk's own tzdata serves it; a laptop's user expects local time."""
    named = environment.get("TZ", "").removeprefix(":")
    if named and not named.startswith("/"):
        return named
    target = os.path.realpath(top / "etc/localtime")
    return target.partition("/zoneinfo/")[2] or _text(top / "etc/timezone").strip() or "UTC"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def port_variables(address: str, ports: Mapping[str, int]) -> dict[str, str]:
    """What tells a desk's servers where to listen."""
    variables = {"HOTDESK_ADDRESS": address}
    for name, port in ports.items():
        variables[f"HOTDESK_PORT_{name.upper().replace('-', '_')}"] = str(port)
    return variables


def desk_environment(request: Request, host: Host) -> dict[str, str]:
    """Every variable that the command sees."""
    environment = {
        "PATH": PATH,
        "HOME": HOME,
        "USER": USER,
        "LOGNAME": USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TZ": host.time_zone,
        "VIRTUAL_ENV": PREFIX,
        "PYTHONNOUSERSITE": "1",
        **host.environment,
    }
    if request.network == "host" and host.ca_bundle:
        environment |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), CA_INSIDE)
    return environment | dict(request.display.environment) | dict(request.environment)
