"""What is refused before anything is fetched, and where a command starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotdesk.opening import _inside


@pytest.mark.parametrize(
    ("current", "inside"),
    [
        ("/home/ann/project", "/home/desk/work"),
        ("/home/ann/project/src/deep", "/home/desk/work/src/deep"),
        ("/home/ann/project2", "/home/desk/work"),
        ("/elsewhere", "/home/desk/work"),
    ],
)
def test_a_command_starts_in_the_folder_that_the_caller_is_in(current: str, inside: str) -> None:
    assert _inside(Path("/home/ann/project"), Path(current)) == inside
