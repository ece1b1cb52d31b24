"""Edits of a spec's lists that leave all else as it was: comments, blanks, order, line ends."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.items import Array, Table

from hotdesk.errors import UsageError
from hotdesk.spec.requirements import BadRequirementError, check_debian_name, parse_requirement
from hotdesk.spec.spec import DEFAULT_VARIANT, parse_spec

if TYPE_CHECKING:
    from collections.abc import Sequence


def add_requirements(
    text: str, names: Sequence[str], *, debian: bool = False, variant: str | None = None
) -> str:
    """`text` with `names` at the end of the list they belong to; `UsageError` where one is there already."""
    return _Edit(text, debian, variant).add(names)


def remove_requirements(
    text: str, names: Sequence[str], *, debian: bool = False, variant: str | None = None
) -> str:
    """`text` without `names`, whatever versions it asks for; `UsageError` where one is not there."""
    return _Edit(text, debian, variant).remove(names)


def add_notebooks(text: str, paths: Sequence[str]) -> str:
    """`text` with these notebooks at the end of `[checks] notebooks`."""
    document: Any = tomlkit.parse(text)
    checks = document.setdefault("checks", tomlkit.table())
    if "notebooks" not in checks:
        _put(checks, "notebooks")
    for path in paths:
        checks["notebooks"].add_line(path, indent="  ")
    checks["notebooks"].add_line(indent="")
    edited = tomlkit.dumps(document)
    parse_spec(edited)
    return edited


class _Edit:
    def __init__(self, text: str, debian: bool, variant: str | None) -> None:
        self.mark = "\ufeff" if text.startswith("\ufeff") else ""
        self.line_end = "\r\n" if "\r\n" in text else "\n"
        self.text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        spec = parse_spec(self.text)  # all its problems at once, before anything is changed
        self.document = tomlkit.parse(self.text)
        self.key = "debian" if debian else "pypi"
        # The one variant of a spec without variants is not written down.
        implicit = variant == DEFAULT_VARIANT and "variants" not in self.document
        if variant is not None and variant not in spec.variants:
            held = ", ".join(f"`{name}`" for name in spec.variants)
            raise UsageError(f"there is no variant `{variant}`", hint=f"choose one of {held}")
        self.variant = None if implicit else variant
        where = f"variants.{self.variant}" if self.variant else "packages"
        self.where = f"`[{where}] {self.key}`"

    def add(self, names: Sequence[str]) -> str:
        array = self._array(create=True)
        held = {self._name(item) for item in array.unwrap()}
        for name in names:
            if self._name(name) in held:
                raise UsageError(
                    f"`{self._name(name)}` is in {self.where} already",
                    hint="to ask for another version, remove it first, or edit `hotdesk.toml`",
                )
            held.add(self._name(name))
            _append(array, name.strip())
        return self._done()

    def remove(self, names: Sequence[str]) -> str:
        array = self._array(create=False)
        for name in names:
            held = [self._name(item) for item in array.unwrap()]
            wanted = self._name(name)
            if wanted not in held:
                raise self._missing(wanted, held)
            for index in reversed([index for index, one in enumerate(held) if one == wanted]):
                del array[index]
        return self._done()

    def _done(self) -> str:
        edited = tomlkit.dumps(self.document)
        parse_spec(edited)
        return self.mark + edited.replace("\n", self.line_end)

    def _name(self, text: str) -> str:
        try:
            return check_debian_name(text) if self.key == "debian" else parse_requirement(text).name
        except BadRequirementError as error:
            raise UsageError(str(error)) from None

    def _array(self, *, create: bool) -> Array:
        table: Any = self.document
        for key in ("variants", self.variant) if self.variant else ("packages",):
            if key not in table and create:
                table[key] = tomlkit.table()
            table = table.get(key, {})
        if self.key not in table and create:
            _put(table, self.key)
        array = table.get(self.key)
        return array if isinstance(array, Array) else tomlkit.array()

    def _missing(self, name: str, held: Sequence[str]) -> UsageError:
        close = difflib.get_close_matches(name, held, 1)
        elsewhere = self._elsewhere(name)
        if close:
            hint = f"did you mean `{close[0]}`?"
        elif elsewhere:
            hint = f"it is in {elsewhere}"
        else:
            hint = f"{self.where} holds {', '.join(f'`{one}`' for one in held) or 'nothing'}"
        return UsageError(f"`{name}` is not in {self.where}", hint=hint)

    def _elsewhere(self, name: str) -> str:
        tables = {"packages": self.document.get("packages", {})}
        tables |= {f"variants.{key}": table for key, table in self.document.get("variants", {}).items()}
        for where, table in tables.items():
            for key in ("pypi", "debian"):
                if name in [re.split(r"[\[<>=!~; ]", str(item))[0].lower() for item in table.get(key, [])]:
                    return f"`[{where}] {key}`"
        return ""


def _put(table: Any, key: str) -> None:
    """An empty array after the table's last key: before the blank lines that part it from the next table."""
    if isinstance(table, Table) and len(table):
        last = list(table)[-1]
        table.value._insert_after(last, tomlkit.key(key), tomlkit.array())
    else:
        table[key] = tomlkit.array()


def _append(array: Array, name: str) -> None:
    """In the manner of the array: on the last line, or on one of its own where each has its own."""
    rendered = array.as_string()
    lines = len(re.findall(r"\n", rendered))
    one_each = ("\n" in rendered and lines > len(array)) or lines >= len(array) > 0
    match = re.search(r"\n([ \t]+)\S", rendered)
    if one_each:
        array.add_line(name, indent=match.group(1) if match else "  ")
    else:
        array.append(name)
