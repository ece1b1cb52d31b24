"""Where each key and value of a TOML document stands: tomllib does not say, and an error should.

The document must be valid (tomllib has read it), so this scan need not check it again; it runs only
when there is something to complain about.
"""

from __future__ import annotations

import re
from collections import Counter

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]+")


def toml_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of each key and of each array element, by its path from the document's top."""
    return _Scan(text).document()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[Path, int] = {}
        self.tables: Counter[Path] = Counter()

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self._skip_blank()
        while self.position < len(self.text):
            if self._at("["):
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()
        return self.lines

    def _header(self) -> Path:
        line = self._line()
        repeated = self.text.startswith("[[", self.position)
        self.position += 2 if repeated else 1
        path = self._resolve(self._key())
        self.position += 2 if repeated else 1
        if repeated:
            self._note(path, line)
            self.tables[path] += 1
            path = (*path, self.tables[path] - 1)
        self._note(path, line)
        return path

    def _resolve(self, keys: list[str]) -> Path:
        # A header below an array of tables means its newest element.
        path: Path = ()
        for number, key in enumerate(keys):
            path = (*path, key)
            if number < len(keys) - 1 and self.tables[path]:
                path = (*path, self.tables[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._key())
        self._note(path, line)
        self.position = self.text.index("=", self.position) + 1
        self._skip_blank()
        self._value(path)

    def _key(self) -> list[str]:
        keys = []
        while True:
            self._skip_blank()
            if match := _STRING.match(self.text, self.position):
                keys.append(_unquote(match.group()))
            else:
                match = _BARE_KEY.match(self.text, self.position)
                if match is None:  # cannot be, in a valid document
                    raise ValueError(f"no key at {self.position}")
                keys.append(match.group())
            self.position = match.end()
            self._skip_blank()
            if not self._at("."):
                return keys
            self.position += 1

    def _value(self, path: Path) -> None:
        if self._at("["):
            self._array(path)
        elif self._at("{"):
            self._inline_table(path)
        else:
            match = _STRING.match(self.text, self.position) or _BARE_VALUE.match(self.text, self.position)
            self.position = match.end() if match else self.position + 1

    def _array(self, path: Path) -> None:
        self.position += 1
        index = 0
        self._skip_blank()
        while not self._at("]"):
            self._note((*path, index), self._line())
            self._value((*path, index))
            index += 1
            self._skip_comma()
        self.position += 1

    def _inline_table(self, path: Path) -> None:
        self.position += 1
        self._skip_blank()
        while not self._at("}"):
            self._pair(path)
            self._skip_comma()
        self.position += 1

    def _skip_comma(self) -> None:
        self._skip_blank()
        if self._at(","):
            self.position += 1
            self._skip_blank()

    def _skip_blank(self) -> None:
        match = _BLANK.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def _at(self, character: str) -> bool:
        return self.text.startswith(character, self.position)

    def _line(self) -> int:
        return self.text.count("\n", 0, self.position) + 1

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)


def _unquote(quoted: str) -> str:
    import tomllib

    (key,) = tomllib.loads(f"{quoted} = 0")
    return key
