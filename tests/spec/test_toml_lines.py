"""Lines of keys and values, in every way that TOML writes them."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotdesk.spec.toml_lines import toml_lines

DOCUMENT = '''\
# a comment with [brackets] and = signs
title = "a # in a string"

[desk]
name = 'x'        # line 5
a.b."c d" = 1
list = [          # line 7
  "one", # two
  [ "nested",
    "deep" ],
  { key = "[", other = """
many
lines ] } """ }, "last",
]
[variants.cpu]    # line 15
when = 1979-05-27T07:32:00Z
[[many]]
x = 1
[[many]]
y = 2
[many.below]
z = 3
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("desk",), 4),
        (("desk", "name"), 5),
        (("desk", "a", "b", "c d"), 6),
        (("desk", "a"), 6),
        (("desk", "list"), 7),
        (("desk", "list", 0), 8),
        (("desk", "list", 1), 9),
        (("desk", "list", 1, 1), 10),
        (("desk", "list", 2, "other"), 11),
        (("desk", "list", 3), 13),
        (("variants",), 15),
        (("variants", "cpu", "when"), 16),
        (("many", 1, "y"), 20),
        (("many", 1, "below", "z"), 22),
    ],
)
def test_a_key_or_value_is_found_on_its_line(path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(DOCUMENT)

    assert toml_lines(DOCUMENT)[path] == line


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12), max_size=6))
def test_any_array_of_strings_has_each_on_its_own_line(values: list[str]) -> None:
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    text = "a = [\n" + "".join(f'  "{value}",\n' for value in quoted) + "]\nb = 1\n"
    assert tomllib.loads(text)["a"] == values

    lines = toml_lines(text)

    assert [lines["a", index] for index in range(len(values))] == list(range(2, 2 + len(values)))
    assert lines["b",] == len(values) + 3


def test_windows_line_ends_count_once() -> None:
    assert toml_lines("[a]\r\nb = [\r\n  1,\r\n  2,\r\n]\r\n")["a", "b", 1] == 4
