"""Code in the style of the course's runs on the classic desk, with the edits that docs/classic.md lists."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.commandline import Hotdesk

pytestmark = pytest.mark.integration

SCRIPTS = sorted(Path(__file__).with_name("period_code").glob("p?_*_*.py"))
PAGE = (Path(__file__).parents[2] / "docs" / "classic.md").read_text()

TRY_EACH = """
import sys
for line in sys.argv[1:]:
    try:
        exec(line, {})
    except ImportError:
        pass
    else:
        print(line)
"""


@dataclass(frozen=True)
class Row:
    """A row of the page's tables; one with `now` is an edit."""

    projects: str
    line: str
    now: str | None

    def is_about(self, script: Path) -> bool:
        return script.stem[:2].upper() in self.projects.split(", ")


ROWS = [
    Row(*found) for found in re.findall(r"^\| (P\d.*?) \| `(.+?)` \|(?: `(.+?)` \|)?$", PAGE, re.MULTILINE)
]
AS_IT_IS = [row for row in ROWS if not row.now]
EDITS = [row for row in ROWS if row.now]


def edited(script: Path) -> str:
    source = script.read_text()
    for edit in EDITS:
        if edit.is_about(script):
            assert edit.line in source, f"{script.name} has no `{edit.line}`"
            source = source.replace(edit.line, edit.now or "")
    return source


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_projects_run_with_the_edits_of_the_page(script: Path, classic: Hotdesk) -> None:
    folder = classic.folder / script.stem
    folder.mkdir()
    (folder / script.name).write_text(edited(script))

    ran = classic.try_("run", "--", "sh", "-c", f"cd {script.stem} && python {script.name}", timeout=120)

    assert ran.returncode == 0, ran.stderr[-3000:]


def test_what_the_page_says_runs_as_it_is_is_in_the_scripts() -> None:
    assert {row.projects for row in AS_IT_IS} == {"P1", "P2", "P3", "P4", "P5"}
    for row in AS_IT_IS:
        (script,) = (script for script in SCRIPTS if row.is_about(script))
        assert row.line in script.read_text(), f"{script.name} has no `{row.line}`"
        assert row.line in edited(script), f"`{row.line}` of {script.name} is edited"


def test_the_imports_of_the_page_fail_without_their_edits(classic: Hotdesk) -> None:
    imports = [edit.line for edit in EDITS if edit.line.startswith("from ")]

    went = classic.run("run", "--", "python", "-c", TRY_EACH, *imports)

    assert len(imports) == 6
    assert went == ""
