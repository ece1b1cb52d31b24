"""Edits keep what they do not mean to change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import SpecError, UsageError
from hotdesk.spec import parse_spec
from hotdesk.spec.edit import add_notebooks, add_requirements, remove_requirements

if TYPE_CHECKING:
    from collections.abc import Callable

DESK = '[desk]\nname = "a"\npython = "3.13"\nbase = "debian:trixie"\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[packages]\npypi = ["x"] # why\n', '[packages]\npypi = ["x", "tqdm"] # why\n'),
        (
            '[packages]\npypi = [\n    "x", # why\n    "y"\n]\n',
            '[packages]\npypi = [\n    "x", # why\n    "y",\n    "tqdm",\n]\n',
        ),
        ("", '\n[packages]\npypi = ["tqdm"]\n'),
        (
            "[packages]\ndebian = []\n\n[jupyter]\nport = 1\n",
            '[packages]\ndebian = []\npypi = ["tqdm"]\n\n[jupyter]\nport = 1\n',
        ),
    ],
)
def test_a_package_is_added_in_the_manner_of_its_list(before: str, after: str) -> None:
    assert add_requirements(DESK + before, ["tqdm"]) == DESK + after


def test_windows_line_ends_and_the_byte_order_mark_stay() -> None:
    text = "\ufeff" + (DESK + '[packages]\npypi = [\n  "x",\n]\n').replace("\n", "\r\n")

    added = add_requirements(text, ["tqdm"])

    assert added.startswith("\ufeff")
    assert added.count("\r\n") == added.count("\n") == text.count("\n") + 1


def test_debian_packages_and_variants_have_lists_of_their_own() -> None:
    text = DESK + "[variants.cpu]\n[variants.gpu]\ngpu = true\n"

    assert '[variants.gpu]\ngpu = true\ndebian = ["git"]' in add_requirements(
        text, ["git"], debian=True, variant="gpu"
    )


def test_what_was_added_can_be_removed_again() -> None:
    text = DESK + '[packages]\npypi = [\n  "x", # why\n  "y",\n]\n'

    assert remove_requirements(add_requirements(text, ["tqdm>=4"]), ["tqdm"]) == text


def test_a_package_is_removed_whatever_its_version_and_spelling() -> None:
    text = DESK + '[packages]\npypi = ["Flask_SocketIO[x]>=1", "y"]\n'

    assert 'pypi = ["y"]' in remove_requirements(text, ["flask-socketio"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda text: add_requirements(text, ["Seaborn"]), "`seaborn` is in `[packages] pypi` already"),
        (lambda text: remove_requirements(text, ["seabron"]), "did you mean `seaborn`?"),
        (lambda text: remove_requirements(text, ["torch"]), r"it is in `[variants.cpu] pypi`"),
        (lambda text: add_requirements(text, ["x @ https://example.org/x"]), "a lock names no host"),
        (lambda text: add_requirements(text, ["x"], variant="cpuu"), "there is no variant `cpuu`"),
        (lambda text: add_requirements(text, ["X=1"], debian=True), "not the name of a Debian package"),
    ],
)
def test_what_cannot_be_done_is_said(call: Callable[[str], str], told: str) -> None:
    text = DESK + '[packages]\npypi = ["seaborn"]\n[variants.cpu]\npypi = ["torch"]\n'

    with pytest.raises(UsageError) as caught:
        call(text)

    assert told in str(caught.value)


def test_a_spec_with_problems_is_not_edited() -> None:
    with pytest.raises(SpecError):
        add_requirements(DESK + "[pakages]\n", ["x"])


@pytest.mark.parametrize(
    "checks", ["", "[checks]  # mine\nimports = []\n", '[checks]\nnotebooks = ["z.ipynb"]\n']
)
def test_notebooks_are_added_to_the_checks(checks: str) -> None:
    text = DESK + checks

    edited = add_notebooks(text, ["a.ipynb", "b/c.ipynb"])

    before = parse_spec(text).checks
    assert parse_spec(edited).checks == replace(before, notebooks=(*before.notebooks, "a.ipynb", "b/c.ipynb"))
    assert ("# mine" in edited) == ("# mine" in text)
