from __future__ import annotations

import fcntl
import json
import math
import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotdesk.desk import condition
from hotdesk.desk import folder as folders
from hotdesk.desk.folder import Desk
from hotdesk.engines.request import Root
from hotdesk.errors import DeskError


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "desks" / "term1"
    folders.make_folder(folder)
    return Desk(
        name="term1",
        folder=folder,
        root=Root(Path("/store/system"), Path("/store/environment")),
        project=Path("/home/ann/project é"),
        port=8889,
        token="secret",
        started=1700000000.5,
        boot="a-b-c",
        labels={"variant": "gpu"},
    )


def test_a_desk_is_read_as_it_was_written(desk: Desk) -> None:
    folders.write_desk(desk)

    assert folders.read_desk(desk.folder) == desk


def test_what_was_never_started_is_none(tmp_path: Path) -> None:
    assert folders.read_desk(tmp_path / "none") is None


def test_only_the_owner_reads_the_token(desk: Desk) -> None:
    before = os.umask(0)
    try:
        folders.write_desk(desk)
    finally:
        os.umask(before)

    assert (desk.folder / "desk.json").stat().st_mode & 0o777 == 0o600
    assert desk.folder.stat().st_mode & 0o777 == 0o700


def test_the_token_is_not_shown_by_accident(desk: Desk) -> None:
    assert "secret" not in repr(desk)
    assert desk.url == "http://127.0.0.1:8889/lab?token=secret"


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "-x", "é", "a" * 64, "a\n", ".hidden"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(DeskError, match="cannot be the name"):
        folders.desk_folder(name)


def test_a_planted_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    (tmp_path / "desk").symlink_to(target)

    with pytest.raises(DeskError, match="link"):
        folders.make_folder(tmp_path / "desk")
    with pytest.raises(DeskError, match="link"):
        folders.read_desk(tmp_path / "desk")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o755, 0o711])
def test_a_folder_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    folder.chmod(mode)

    with pytest.raises(DeskError, match="others may use it"):
        folders.make_folder(folder)


def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a folder that belongs to somebody else")
    folder = tmp_path / "desk"
    folder.mkdir(mode=0o700)
    os.chown(folder, 1000, 1000)

    with pytest.raises(DeskError, match="belongs to user 1000"):
        folders.make_folder(folder)


def test_a_link_in_place_of_a_file_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("untouched")
    for name in ("desk.json", "log"):
        (desk.folder / name).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        folders.open_private(desk.folder / "log")
    with pytest.raises(DeskError) as caught:
        folders.read_desk(desk.folder)
    assert "symbolic links" in caught.value.why
    folders.write_desk(desk)

    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert folders.read_desk(desk.folder) == desk


WHOLE: dict[str, object] = {
    "hotdesk-desk": 1, "root": None, "project": None, "port": 1, "token": "", "started": 0, "boot": "",
    "stopped": False, "labels": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "cut short or overwritten"),
        ('{"port": 1', "cut short or overwritten"),
        ("\x00" * 300, "cut short or overwritten"),
        ("[]", "describes no desk"),
        ('{"port": 1}', "describes no desk"),
        ('{"hotdesk-desk": 0, "name": "term1"}', "another version of hotdesk wrote it: in format 0, not 1"),
        ('{"hotdesk-desk": 1, "project": null}', "it lacks 'root': another version"),
        (json.dumps(WHOLE | {"port": "none"}), "a value in it"),
        (json.dumps(WHOLE | {"root": ["one"]}), "a value in it"),
        (json.dumps(WHOLE | {"labels": 1}), "a value in it"),
        (json.dumps(WHOLE | {"port": float("inf")}), "a value in it"),
        (json.dumps(WHOLE | {"port": 65536}), "a value in it"),
        (json.dumps(WHOLE | {"started": float("nan")}), "a value in it"),
        (json.dumps(WHOLE | {"project": "a\0b"}), "a value in it"),
        (json.dumps(WHOLE | {"labels": {"variant": "\ud800"}}), "a value in it"),
        (json.dumps(WHOLE | {"labels": {"port": "http"}}), "a value in it"),
        (json.dumps(WHOLE | {"labels": {"port": ""}}), "a value in it"),
        (json.dumps(WHOLE | {"labels": {"port": "65536"}}), "a value in it"),
        (json.dumps(WHOLE | {"labels": {"port": "0"}}), "a value in it"),
        ("[" * 100_000, "nested so deep"),
        ('{"hotdesk-desk": "\\ud800' + "9" * 100 + '"}', "another version"),
    ],
)
def test_a_damaged_record_is_explained(desk: Desk, content: str, why: str) -> None:
    (desk.folder / "desk.json").write_text(content)

    with pytest.raises(DeskError, match="what is known of the desk `term1` cannot be read") as caught:
        folders.read_desk(desk.folder)

    assert f"{desk.folder}/desk.json: " in caught.value.why
    assert why in caught.value.why
    assert "Error" not in caught.value.why
    assert "hotdesk rm term1" in caught.value.hint
    assert str(desk.home) in caught.value.hint  # which goes with it


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from([*WHOLE, "early"]), JSON))
def test_whatever_is_in_a_record_it_is_a_desk_or_damaged(changed: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "desk.json").write_text(json.dumps(WHOLE | changed))
        try:
            found = folders.read_desk(folder)
        except DeskError as error:
            str(error).encode()
            return

    assert found
    assert condition(found).state in ("never opened", "running", "stopped", "crashed")
    assert found.port in range(65536)
    assert math.isfinite(found.started)
    "".join(found.labels.values()).encode()


def test_a_desk_that_is_only_registered_is_read_as_it_was_written(desk: Desk) -> None:
    registered = replace(desk, root=None, port=0, token="", started=0.0, boot="")
    folders.write_desk(registered)

    assert folders.read_desk(desk.folder) == registered


def test_the_page_that_leads_to_a_desk_is_its_owners_alone(desk: Desk) -> None:
    page = folders.write_opener(desk)

    assert desk.url in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600


def test_a_lock_whose_file_was_removed_meanwhile_locks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "starting"
    holder = folders.open_private(path)
    fcntl.flock(holder, fcntl.LOCK_EX)
    had: list[bool] = []

    def wait() -> None:
        with folders.exclusive(path):
            had.append(folders.is_locked(path))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while f"{path.stat().st_ino} 0 EOF" not in _waiting_locks():
        time.sleep(0.001)
    path.unlink()
    os.close(holder)
    waiting.join(10)

    assert had == [True]  # on the file that is there now


def _waiting_locks() -> str:
    lines = Path("/proc/locks").read_text().splitlines()
    return "\n".join(line for line in lines if "->" in line)


def test_a_lock_is_seen_while_it_is_held(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    assert not folders.is_locked(path)
    descriptor = folders.open_private(path)
    assert not folders.is_locked(path)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    assert folders.is_locked(path)

    os.close(descriptor)
    assert not folders.is_locked(path)


def test_the_data_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOTDESK_DATA", str(tmp_path))
    assert folders.desk_folder("term1") == tmp_path / "desks" / "term1"

    monkeypatch.delenv("HOTDESK_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert folders.data_path() == tmp_path / "share" / "hotdesk"
