"""The spec: `hotdesk.toml` to `Spec`, every problem at once and with its line.

`hotdesk run` parses it at each start, so nothing slow is imported here.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotdesk.errors import SpecError
from hotdesk.lock import Inputs
from hotdesk.spec.requirements import (
    BadRequirementError,
    Requirement,
    check_debian_name,
    parse_requirement,
)
from hotdesk.spec.toml_table import Keys, Table, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SPEC_NAME = "hotdesk.toml"
PLATFORMS = ("linux/amd64", "linux/arm64")
BASES = {"debian:trixie": "3.13", "debian:bookworm": "3.11"}
OCI = "oci:"
OLDEST_PYTHON = 11
DEFAULT_VARIANT = "default"
DEFAULT_PORT = 8888
"""Jupyter's, and in a container always."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?", re.ASCII)
_PYTHON = re.compile(r"3\.([1-9][0-9])")
_SERVER = re.compile(r"[a-z][a-z0-9-]{0,31}")
_IMPORT = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class Variant:
    """What one variant adds to `[packages]`."""

    name: str
    pypi: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    gpu: bool = False


@dataclass(frozen=True, slots=True)
class Checks:
    """What must hold on a desk; `notebooks` are paths below the project folder."""

    imports: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    notebooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """`hotdesk.toml`, checked; requirements are canonical, `platforms` is empty where it does not say.

    `port` is Jupyter's; `ports` are those of the desk's other servers, by the name that the spec gives them.
    """

    name: str
    description: str
    python: str
    base: str
    platforms: tuple[str, ...]
    pypi: tuple[str, ...]
    debian: tuple[str, ...]
    variants: Mapping[str, Variant]
    port: int
    ports: Mapping[str, int]
    checks: Checks

    def inputs(self) -> Inputs:
        """What the lock depends on: two spellings of one spec have equal inputs."""
        return Inputs(
            python=self.python,
            base=_without_host(self.base),
            platforms=tuple(name for name in PLATFORMS if name in self.platforms),
            pypi=tuple(sorted(self.pypi)),
            debian=tuple(sorted(self.debian)),
            variants={
                name: (tuple(sorted(variant.pypi)), tuple(sorted(variant.debian)))
                for name, variant in sorted(self.variants.items())
            },
        )

    @property
    def base_reference(self) -> str:
        """Where the image is that the desk is built on; empty where it is built from packages alone."""
        return self.base.removeprefix(OCI) if self.base.startswith(OCI) else ""

    def variant(self, name: str | None) -> Variant:
        """The variant of this name, the first where none is named; `LockError`'s kin is `SpecError`."""
        if name is None:
            return next(iter(self.variants.values()))
        if name not in self.variants:
            held = ", ".join(f"`{variant}`" for variant in self.variants)
            raise SpecError(f"there is no variant `{name}`", hint=f"choose one of {held}")
        return self.variants[name]


def read_spec(path: Path) -> Spec:
    """The spec at `path`; `SpecError` with every problem in it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SpecError(
            f"there is no `{path.name}` in {path.parent}", hint="run `hotdesk init` to write one"
        ) from None
    except OSError as error:
        raise SpecError(f"`{path}` cannot be read", why=error.strerror or str(error)) from None
    return parse_spec(decode_spec(data, path.name), path.name)


def decode_spec(data: bytes, name: str = SPEC_NAME) -> str:
    """The text of a spec, without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _spec_error(name, [(line, "this is not UTF-8 text; save the file as UTF-8")]) from None


def parse_spec(text: str, name: str = SPEC_NAME) -> Spec:
    """The spec in `text`; `name` is what errors call the file."""
    text = text.removeprefix("\ufeff")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _spec_error(name, [_syntax_problem(str(error), text)]) from None
    except RecursionError:
        raise _spec_error(
            name, [(1, "this is no spec: a value in it is nested too deep to be read")]
        ) from None
    problems: list[tuple[Keys, str]] = []
    spec = _spec(Table(document, (), problems))
    if problems or spec is None:
        from hotdesk.spec.toml_lines import toml_lines

        lines = toml_lines(text)
        raise _spec_error(name, [(_line_of(path, lines), message) for path, message in problems])
    return spec


def starter_spec(folder: str) -> str:
    """The text of a first spec for a desk in a folder of this name."""
    name = re.sub(r"[^a-z0-9._-]+", "-", folder.lower()).strip("-._")[:63].strip("-._") or "desk"
    return f"""\
[desk]
name = "{name}"
python = "3.13"
base = "debian:trixie"

[packages]
pypi = ["jupyterlab", "pip"]
debian = []

# A desk may have variants, each with packages of its own:
# [variants.cpu]
# pypi = ["tensorflow-cpu"]
# [variants.gpu]
# pypi = ["tensorflow[and-cuda]"]
# gpu = true
"""


def _spec(document: Table) -> Spec | None:
    if "desk" not in document.data:
        document.problem(
            '`[desk]` is missing; it needs `name`, `python` and `base`, as in `name = "my-desk"`'
        )
    name, description, python, base, platforms = _desk(document.table("desk"))
    packages = document.table("packages")
    pypi, debian = _pypi(packages), _debian(packages)
    packages.finish()
    variants = _variants(document.table("variants"), pypi, debian)
    port = _port(document.table("jupyter"))
    ports = _ports(document.table("ports"), port)
    checks = _checks(document.table("checks"))
    document.finish()
    if document.problems:
        return None
    return Spec(
        name=name,
        description=description,
        python=python,
        base=base,
        platforms=platforms,
        pypi=tuple(requirement.text for requirement in pypi),
        debian=tuple(debian),
        variants=variants,
        port=port,
        ports=ports,
        checks=checks,
    )


def _desk(desk: Table) -> tuple[str, str, str, str, tuple[str, ...]]:
    required = bool(desk.data)
    name = desk.text("name", required=required)
    if "name" in desk.data and isinstance(desk.data["name"], str):
        _check_name(desk, name, "name of a desk", "name")
    description = desk.text("description")
    base, python = desk.text("base", required=required), desk.text("python", required=required)
    _check_base(desk, base, python)
    platforms = []
    for index, platform in desk.strings("platforms"):
        if platform not in PLATFORMS:
            desk.problem(
                f"there is no platform `{platform}`; {did_you_mean(platform, PLATFORMS)}", "platforms", index
            )
        elif platform in platforms:
            desk.problem(f"`{platform}` is listed twice", "platforms", index)
        platforms.append(platform)
    if desk.data.get("platforms") == []:
        desk.problem("`desk.platforms` is empty; leave it out to try all platforms", "platforms")
    desk.finish()
    return name, description, python, base, tuple(platforms)


def _check_base(desk: Table, base: str, python: str) -> None:
    if base.startswith(OCI):
        _check_image(desk, base.removeprefix(OCI), python)
        return
    if base and base not in BASES:
        reason = did_you_mean(base, [*BASES, f"{OCI}REFERENCE"])
        desk.problem(f"there is no base `{base}`; {reason}", "base")
    if python and base in BASES and python != BASES[base]:
        held = " and ".join(f"`{name}` has {version}" for name, version in BASES.items())
        desk.problem(f'`{base}` has no Python "{python}"; {held}', "python")


def _check_image(desk: Table, reference: str, python: str) -> None:
    """What is wrong with a reference at first sight: the registry's client, which locks it, is strict."""
    host, _, name = reference.partition("/")
    if not name or not ("." in host or ":" in host or host == "localhost"):
        example = f"{OCI}registry.example/team/base:1"
        desk.problem(
            f"`{OCI}{reference}` names no registry, and hotdesk has no default one; write `{example}`",
            "base",
        )
    elif not reference.isprintable() or " " in reference:
        desk.problem(f"{OCI + reference!r} is no reference to an image", "base")
    version = _PYTHON.fullmatch(python)
    if python and not (version and int(version[1]) >= OLDEST_PYTHON):
        desk.problem(
            f'on an image, a desk cannot have Python "{python}"; "3.{OLDEST_PYTHON}" is the oldest, '
            'and two numbers are enough, as in "3.13"',
            "python",
        )


def _without_host(base: str) -> str:
    """As a lock has it, which names no registry."""
    return OCI + base.partition("/")[2] if base.startswith(OCI) else base


def _variants(table: Table, pypi: list[Requirement], debian: list[str]) -> dict[str, Variant]:
    variants = {}
    for name in table.data:
        one = table.table(name)
        _check_name(table, name, "name of a variant", name)
        own_pypi, own_debian = _pypi(one, pypi), _debian(one, debian)
        gpu = one.take("gpu", bool, "true or false") is True
        one.finish()
        texts = tuple(requirement.text for requirement in own_pypi)
        variants[name] = Variant(name, texts, tuple(own_debian), gpu)
    return variants or {DEFAULT_VARIANT: Variant(DEFAULT_VARIANT)}


def _pypi(table: Table, common: Iterable[Requirement] = ()) -> list[Requirement]:
    found: list[Requirement] = []
    for index, text in table.strings("pypi"):
        try:
            requirement = parse_requirement(text)
        except BadRequirementError as error:
            table.problem(str(error), "pypi", index)
            continue
        if any(_same(requirement, other) for other in found):
            table.problem(f"`{requirement.name}` is listed twice", "pypi", index)
        elif requirement in common:
            table.problem(f"`{requirement.text}` is in `[packages] pypi` already", "pypi", index)
        found.append(requirement)
    return found


def _same(one: Requirement, other: Requirement) -> bool:
    # Two markers may exclude one another: then each holds on its own platform.
    return one.name == other.name and (one.marker == other.marker or not (one.marker and other.marker))


def _debian(table: Table, common: Iterable[str] = ()) -> list[str]:
    found: list[str] = []
    for index, text in table.strings("debian"):
        try:
            name = check_debian_name(text)
        except BadRequirementError as error:
            table.problem(str(error), "debian", index)
            continue
        if name in found:
            table.problem(f"`{name}` is listed twice", "debian", index)
        elif name in common:
            table.problem(f"`{name}` is in `[packages] debian` already", "debian", index)
        found.append(name)
    return found


def _port(jupyter: Table) -> int:
    port = _port_number(jupyter, "port", DEFAULT_PORT)
    jupyter.finish()
    return port


def _ports(table: Table, jupyter: int) -> dict[str, int]:
    ports: dict[str, int] = {}
    for name in table.data:
        if not _SERVER.fullmatch(name):
            rule = "use up to 32 lowercase letters, digits and `-`, and begin with a letter"
            table.problem(f"`{name}` cannot be the name of a port; {rule}", name)
        port = _port_number(table, name, 0)
        if port in (jupyter, DEFAULT_PORT):
            table.problem(f"{port} is Jupyter's own port", name)
        elif other := next((other for other in ports if ports[other] == port), ""):
            table.problem(f"{port} is the port of `{other}` already", name)
        ports[name] = port
    return ports


def _port_number(table: Table, key: str, default: int) -> int:
    value = table.take(key, int, "a whole number")
    port = value if isinstance(value, int) else default
    if isinstance(value, int) and not 0 < port < 65536:
        table.problem(f"{port} is not a port; ports go from 1 to 65535", key)
    return port


def _checks(table: Table) -> Checks:
    imports, commands = table.strings("imports"), table.strings("commands")
    notebooks = table.strings("notebooks")
    for index, name in imports:
        if not _IMPORT.fullmatch(name):
            table.problem(f"`{name}` is not a module that Python can import", "imports", index)
    for index, command in commands:
        if not command.strip():
            table.problem("a command is empty", "commands", index)
    for index, path in notebooks:
        if reason := _no_notebook(path):
            table.problem(f"`{path}` {reason}", "notebooks", index)
    table.finish()
    texts = (tuple(text for _, text in found) for found in (imports, commands, notebooks))
    return Checks(*texts)


def _no_notebook(path: str) -> str:
    if not path.endswith(".ipynb") or not path.isprintable():
        return "is not the name of a notebook; it ends in `.ipynb`"
    if path.startswith("/") or ".." in path.split("/"):
        return "is not in the project folder; write it as seen from the spec"
    return ""


def _check_name(table: Table, name: str, what: str, key: str) -> None:
    if not _NAME.fullmatch(name):
        rule = "use up to 63 lowercase letters, digits, `-`, `.` and `_`, with a letter or digit at both ends"
        table.problem(f"`{name}` cannot be the {what}; {rule}", key)


def _syntax_problem(message: str, text: str) -> tuple[int, str]:
    place = re.search(r"\s*\(at (?:line (\d+), column \d+|end of document)\)", message)
    line = int(place.group(1)) if place and place.group(1) else text.rstrip().count("\n") + 1
    reason = message[: place.start()] if place else message
    return line, f"this is not TOML: {reason[:1].lower()}{reason[1:]}"


def _line_of(path: Keys, lines: Mapping[Keys, int]) -> int:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _spec_error(name: str, problems: list[tuple[int, str]]) -> SpecError:
    ordered = sorted(problems, key=lambda problem: problem[0])
    count = "a problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    listed = "\n".join(f"  line {line}: {message}" for line, message in ordered)
    return SpecError(f"`{name}` has {count}:\n{listed}", hint=f"correct `{name}` and try again")
