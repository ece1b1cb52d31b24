"""The worked projects, as a student and a teacher run them; HOTDESK_TEST_PROJECTS=all runs every one."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.support.browser import open_browser
from tests.support.commandline import Hotdesk
from tests.support.waiting import eventually

from hotdesk.spec import parse_spec

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

ALL = os.environ.get("HOTDESK_TEST_PROJECTS") == "all"
CHECKED = None if ALL else ["p4-advanced-lane-lines/p4-advanced-lane-lines.ipynb"]
SHOWN = ["p1-lane-lines", "p2-traffic-signs"] if ALL else ["p1-lane-lines"]


@pytest.fixture(scope="module")
def projects(term1: Hotdesk, tmp_path_factory: pytest.TempPathFactory) -> Hotdesk:
    hotdesk = Hotdesk(tmp_path_factory.mktemp("projects"), term1.store, tmp_path_factory.mktemp("desks"))
    hotdesk.run("init", "sdcnd-term1", "--with-projects")
    return hotdesk


def check(hotdesk: Hotdesk, notebooks: list[str] | None, *options: str) -> None:
    """`hotdesk check`, of all that the spec names or of these notebooks alone, has nothing to complain of."""
    spec = hotdesk.folder / "hotdesk.toml"
    text = spec.read_text()
    named = parse_spec(text).checks
    if notebooks is not None:
        begin = text.index("notebooks = [") if named.notebooks else len(text)
        spec.write_text(text[:begin] + f"notebooks = {json.dumps(notebooks)}\n")
    try:
        done = hotdesk.try_("check", "--json", *options, timeout=900)
    finally:
        spec.write_text(text)
    results = json.loads(done.stdout)
    assert [(result["check"], result["output"]) for result in results if not result["ok"]] == []
    assert len(results) >= len(named.imports) + len(named.commands)
    assert done.returncode == 0


@pytest.mark.timeout(1200)
def test_todays_desk_holds_what_its_spec_promises(projects: Hotdesk) -> None:
    check(projects, CHECKED)


def test_the_classic_desk_holds_what_its_spec_promises(classic: Hotdesk) -> None:
    check(classic, [])


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", SHOWN)
def test_a_student_runs_a_notebook_from_top_to_bottom(projects: Hotdesk, name: str, tmp_path: Path) -> None:
    path = projects.folder / name / f"{name}.ipynb"
    url = projects.run("up").strip()
    try:
        with open_browser() as browser:
            browser.open(url.replace("/lab?", f"/lab/tree/{name}/{name}.ipynb?"))
            browser.run_all_cells(seconds=600)
            browser.show(".jp-OutputArea-output img, .jp-OutputArea-output video")
            browser.screenshot(tmp_path / f"{name}.png")
            browser.save()
            eventually(lambda: was_run(path))
    finally:
        projects.run("stop")

    outputs = [output for cell in code_cells(path) for output in cell["outputs"]]
    assert [output["evalue"] for output in outputs if output["output_type"] == "error"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)


def was_run(path: Path) -> bool:
    with suppress(ValueError):  # it is being written
        return all(cell["execution_count"] for cell in code_cells(path))
    return False


def code_cells(path: Path) -> list[dict[str, list[dict[str, str]]]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
