import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from benchmarks.measure import (
    BenchmarkError,
    PeakMemory,
    check_token,
    disk_usage,
    free_port,
    run,
    wait_until_it_answers,
)


def test_a_command_is_timed_to_its_end() -> None:
    finished = run([sys.executable, "-c", "import time; time.sleep(0.2); print('done')"])

    assert finished.output == "done\n"
    assert 0.2 <= finished.seconds < 5


def test_a_command_that_fails_says_how() -> None:
    with pytest.raises(BenchmarkError, match="exited 3:\nno such thing"):
        run(["sh", "-c", "echo no such thing; exit 3"])


def test_hard_links_take_their_disk_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 100_000)
    once = disk_usage(tmp_path)
    (tmp_path / "two").hardlink_to(tmp_path / "one")

    assert disk_usage(tmp_path) == once
    assert once >= 100_000


def test_a_links_target_is_not_counted(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * 100_000)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)

    assert disk_usage(folder) < 100_000


def test_memory_is_summed_over_the_processes_asked_for() -> None:
    hold = "import time; kept = bytearray(50_000_000); time.sleep(1)"
    processes = [subprocess.Popen([sys.executable, "-c", hold]) for _ in range(2)]
    mine = {str(process.pid) for process in processes}

    with PeakMemory(lambda process: process.name in mine) as memory:
        for process in processes:
            process.wait()

    assert 50e6 < memory.largest < 100e6
    assert 100e6 < memory.together < 200e6


class Jupyter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        allowed = self.path == "/api" or self.path.endswith("token=right")
        self.send_response(200 if allowed else 403)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def answer(server: HTTPServer, requests: int) -> None:
    for _ in range(requests):
        server.handle_request()


def test_waiting_ends_with_the_first_answer() -> None:
    port = free_port()
    started = time.monotonic()

    def answer_late() -> None:
        time.sleep(0.3)
        with HTTPServer(("127.0.0.1", port), Jupyter) as server:
            answer(server, 3)

    thread = threading.Thread(target=answer_late)
    thread.start()
    answered = wait_until_it_answers(port, lambda: None)
    check_token(port, "right")
    thread.join()

    assert 0.3 <= answered - started < 5


def test_a_server_that_takes_any_token_is_not_measured() -> None:
    with HTTPServer(("127.0.0.1", 0), Jupyter) as server:
        thread = threading.Thread(target=answer, args=(server, 2))
        thread.start()
        with pytest.raises(BenchmarkError, match="without a token Jupyter says 403, with it 403"):
            check_token(server.server_port, "wrong")
        thread.join()


def test_waiting_for_what_has_ended_stops_at_once() -> None:
    def ended() -> None:
        raise BenchmarkError("it ended")

    with pytest.raises(BenchmarkError, match="it ended"):
        wait_until_it_answers(free_port(), ended)
