"""A table of a TOML document, read key by key; what is wrong is noted with its place, not raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Keys = tuple[str | int, ...]


class Table:
    """One table of the document; each reader takes a key, and notes what is wrong with it."""

    def __init__(self, data: dict[str, object], path: Keys, problems: list[tuple[Keys, str]]) -> None:
        self.data = data
        self.path = path
        self.problems = problems
        self.known: list[str] = []

    def problem(self, message: str, *below: str | int) -> None:
        self.problems.append(((*self.path, *below), message))

    def take(self, key: str, kind: type | tuple[type, ...], what: str, *, required: bool = False) -> object:
        self.known.append(key)
        if key not in self.data:
            if required:
                self.problem(f"`{self._dotted(key)}` is missing")
            return None
        value = self.data[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.problem(f"`{self._dotted(key)}` must be {what}, not {_kind(value)}", key)
            return None
        return value

    def text(self, key: str, *, required: bool = False) -> str:
        value = self.take(key, str, "a string", required=required)
        return value if isinstance(value, str) else ""

    def strings(self, key: str) -> list[tuple[int, str]]:
        value = self.take(key, list, "an array of strings")
        found = []
        for index, item in enumerate(value if isinstance(value, list) else []):
            if isinstance(item, str):
                found.append((index, item))
            else:
                self.problem(f"`{self._dotted(key)}` must hold strings, not {_kind(item)}", key, index)
        return found

    def table(self, key: str) -> Table:
        value = self.take(key, dict, "a table")
        return Table(value if isinstance(value, dict) else {}, (*self.path, key), self.problems)

    def finish(self) -> None:
        for key in self.data:
            if key not in self.known:
                where = f" in `[{dotted(self.path)}]`" if self.path else ""
                advice = did_you_mean(key, self.known)
                self.problem(f"unknown key `{key}`{where}; {advice}", key)

    def _dotted(self, key: str) -> str:
        return dotted((*self.path, key))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    import difflib

    choices = list(known)
    if close := difflib.get_close_matches(word, choices, n=1):
        return f"did you mean `{close[0]}`?"
    return f"known are {', '.join(f'`{choice}`' for choice in choices)}"


def dotted(path: Keys) -> str:
    return ".".join(str(part) for part in path)


def _kind(value: object) -> str:
    names = {str: "a string", bool: "true or false", int: "a whole number", float: "a number",
             list: "an array", dict: "a table"}  # fmt: skip
    return names.get(type(value), "a date or time")
