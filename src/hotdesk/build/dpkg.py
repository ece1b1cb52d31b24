"""dpkg's database as `dpkg --unpack` would have left it, so that only `dpkg --configure` is left to do.

Source: dpkg(1), deb-triggers(5), dpkg's `lib/dpkg/{dump,infodb-upgrade,triglib}.c` for what is where.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hotdesk.build import inside
from hotdesk.build.unpack import control_fields

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hotdesk.build.unpack import Unpacked

_DATABASE = "var/lib/dpkg"
_SCRIPTS = frozenset({"preinst", "postinst", "prerm", "postrm", "config"})


def write_database(root: Path, packages: Sequence[Unpacked]) -> None:
    """Write the database below `root` for `packages`."""

    def write(name: str, content: bytes, mode: int = 0o644) -> None:
        inside.write(root, f"{_DATABASE}/{name}", content, mode)

    for folder in ("info", "updates", "triggers", "alternatives", "parts"):
        inside.make_folder(root, f"{_DATABASE}/{folder}").chmod(0o755)
    triggers: dict[str, list[str]] = {"File": []}
    paragraphs = []
    for package in sorted(packages, key=lambda package: package.name):
        label = database_name(package)
        for name, content in sorted(package.control.items()):
            if name != "control":
                write(f"info/{label}.{name}", content, 0o755 if name in _SCRIPTS else 0o644)
        write(f"info/{label}.list", _bytes("".join(f"{path}\n" for path in package.listed)))
        paragraphs.append(_paragraph(root, package))
        _collect_triggers(package, label, triggers)
    write("info/format", b"1\n")
    write("status", b"\n".join(paragraphs))
    write("available", b"")
    write("diversions", b"")
    for name, lines in triggers.items():
        write(f"triggers/{name}", "".join(f"{line}\n" for line in lines).encode())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def database_name(package: Unpacked) -> str:
    """What dpkg calls the package in its files: with the architecture where several may be installed."""
    fields = control_fields(package.control["control"])
    if fields.get("multi-arch") == "same":
        return f"{package.name}:{fields['architecture']}"
    return package.name


def _paragraph(root: Path, package: Unpacked) -> bytes:
    lines = package.control["control"].rstrip(b"\n").split(b"\n")
    place = next(index for index, line in enumerate(lines) if line.lower().startswith(b"package:"))
    lines.insert(place + 1, b"Status: install ok unpacked")
    conffiles = _conffiles(package.control.get("conffiles", b""))
    if conffiles:
        lines.append(b"Conffiles:")
        lines += [b" %s %s" % (path, _md5(root, path)) for path in conffiles]
    return b"\n".join(lines) + b"\n"


def _conffiles(content: bytes) -> list[bytes]:
    # A line may begin with a flag; those with one are about upgrades.
    return [line.rstrip() for line in content.splitlines() if line.startswith(b"/")]


def _md5(root: Path, path: bytes) -> bytes:
    content = inside.read(root, path.decode("utf-8", "surrogateescape"))
    if content is None:
        return b"nonexistent"
    return hashlib.md5(content, usedforsecurity=False).hexdigest().encode()


def _collect_triggers(package: Unpacked, label: str, triggers: dict[str, list[str]]) -> None:
    for line in package.control.get("triggers", b"").decode().splitlines():
        directive, _, trigger = line.partition("#")[0].strip().partition(" ")
        trigger = trigger.strip()
        if not directive.startswith("interest") or not trigger:
            continue
        holder = f"{label}/noawait" if directive == "interest-noawait" else label
        if trigger.startswith("/"):
            triggers["File"].append(f"{trigger} {holder}")
        else:
            triggers.setdefault(trigger, []).append(holder)
