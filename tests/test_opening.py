"""What is refused before anything is fetched, and where a command starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.desk.on_record import something_runs

from hotdesk.desk import claim, find
from hotdesk.desk.register import Owner
from hotdesk.engines.request import Limits, Root
from hotdesk.errors import DeskError
from hotdesk.lock import FORMAT
from hotdesk.opening import Preparation, _inside, as_it_runs, reopen


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


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a desk on record, with a spec and a lock beside it."""
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path))
    folder = claim("term1", Owner(tmp_path, "cpu"), fixed=True).folder
    (folder / "keep").mkdir()
    for name in ("hotdesk.toml", "hotdesk.lock"):
        (folder / "keep" / name).write_text("")
    return folder


def test_a_desk_that_runs_is_taken_where_it_does_unless_another_engine_is_named(folder: Path) -> None:
    desk = replace(find("term1"), root=Root(folder, folder))
    unnamed = Preparation(engine="docker", limits=Limits(memory=1 << 30))
    named = replace(unnamed, engine_named=True)

    assert [as_it_runs(desk, wanted) for wanted in (unnamed, named)] == [unnamed, named]
    with something_runs(desk):
        assert as_it_runs(desk, unnamed) == replace(unnamed, engine="sandbox")
        with pytest.raises(DeskError, match="`term1` is open already, in the sandbox"):
            as_it_runs(desk, named)


def test_a_kept_lock_that_is_none_any_more_is_told(folder: Path) -> None:
    for content in (b"", b'{"hotdesk-lock": 1}', b"\xff", b"[" * 100_000):
        (folder / "keep" / "hotdesk.lock").write_bytes(content)

        with pytest.raises(DeskError, match="`term1` cannot be read") as caught:
            reopen(find("term1"), Preparation())

        assert f"{folder}/keep/hotdesk.lock: " in caught.value.why
        assert "hotdesk rm term1" in caught.value.hint


def test_a_record_without_its_variant_is_told(folder: Path) -> None:
    record = json.loads((folder / "desk.json").read_text())
    (folder / "desk.json").write_text(json.dumps(record | {"labels": {}}))
    lock: dict[str, Any] = {"hotdesk-lock": FORMAT, "snapshot": "20260101T000000Z", "platforms": {}}
    lock["inputs"] = {"python": "3.13", "base": "debian:trixie", "platforms": [], "variants": {}}
    lock["inputs"] |= {"pypi": [], "debian": []}
    (folder / "keep" / "hotdesk.lock").write_text(json.dumps(lock))

    with pytest.raises(DeskError, match="`term1` cannot be read") as caught:
        reopen(find("term1"), Preparation())

    assert f"{folder}/desk.json: it was edited" in caught.value.why
