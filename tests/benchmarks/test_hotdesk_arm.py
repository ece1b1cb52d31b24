import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.hotdesk_arm import Hotdesk, find_token
from benchmarks.measure import BenchmarkError

from hotdesk.lock import LOCK_NAME
from hotdesk.spec import SPEC_NAME


def test_the_token_is_the_printed_urls() -> None:
    printed = "downloading: 3 of 3 MB\nmine is open\nhttp://127.0.0.1:8899/lab?token=a-B_9\n"

    assert find_token(printed, 8899) == "a-B_9"


def test_a_url_with_another_port_is_not_taken() -> None:
    with pytest.raises(BenchmarkError, match="no URL with port 8899"):
        find_token("http://127.0.0.1:8888/lab?token=abc\n", 8899)


def test_the_project_is_put_back(tmp_path: Path) -> None:
    hotdesk = Hotdesk(tmp_path / "mine")
    for name in (SPEC_NAME, LOCK_NAME):
        (hotdesk.project / name).write_text("before")

    with hotdesk.project_kept():
        (hotdesk.project / SPEC_NAME).write_text("after")

    assert (hotdesk.project / SPEC_NAME).read_text() == "before"


def test_its_processes_are_told_by_their_store(tmp_path: Path) -> None:
    mine, other = Hotdesk(tmp_path / "mine"), Hotdesk(tmp_path / "other")
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        env=mine.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    folder = Path("/proc", str(process.pid))
    try:
        assert mine.is_mine(folder)
        assert not other.is_mine(folder)
    finally:
        process.communicate(b"\n")


def test_removing_everything_ends_what_works_in_the_background(tmp_path: Path) -> None:
    hotdesk = Hotdesk(tmp_path / "mine")
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        env=hotdesk.environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()

    hotdesk.remove_all()

    process.communicate(timeout=10)
    assert process.returncode < 0
    assert not (tmp_path / "mine").exists()
