from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotdesk.engines.display import cookies_for, read_display
from hotdesk.engines.request import Display
from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="displays are Linux's")

LOCAL, INTERNET, ANY = 256, 0, 65535


@pytest.fixture
def top(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with an X server on display 3, and a Wayland compositor."""
    top = tmp_path_factory.mktemp("top")
    (top / "tmp/.X11-unix").mkdir(parents=True)
    (top / "run").mkdir()
    monkeypatch.chdir(top)  # the names of sockets must be short
    with socket.socket(socket.AF_UNIX) as x11, socket.socket(socket.AF_UNIX) as wayland:
        x11.bind("tmp/.X11-unix/X3")
        wayland.bind("run/wayland-0")
        yield top


def entry(family: int, address: bytes, number: bytes, secret: bytes) -> bytes:
    """One of an Xauthority file, as libXau writes it."""
    fields = (address, number, b"MIT-MAGIC-COOKIE-1", secret)
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(each)) + each for each in fields)


@pytest.mark.parametrize("named", [":3", ":3.0", "unix:3", "unix/host:3"])
def test_x_is_reached_under_a_number_of_its_own(top: Path, named: str) -> None:
    display = read_display({"DISPLAY": named}, top)

    assert display.sockets == {"/tmp/.X11-unix/X500": top / "tmp/.X11-unix/X3"}
    assert display.environment["DISPLAY"].partition(".")[0] == ":500"
    assert not display.address


def test_wayland_is_reached_through_its_socket(top: Path) -> None:
    environment = {"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": str(top / "run")}
    inside = "/run/hotdesk/wayland"

    assert read_display(environment, top) == Display(
        {inside: top / "run/wayland-0"}, environment={"WAYLAND_DISPLAY": inside}
    )
    by_path = {"WAYLAND_DISPLAY": str(top / "run/wayland-0")}
    assert read_display(by_path, top).sockets == {inside: top / "run/wayland-0"}


def test_a_display_of_ssh_is_reached_through_the_network(top: Path) -> None:
    display = read_display({"DISPLAY": "localhost:10.0"}, top)

    assert (display.address, display.environment["DISPLAY"]) == ("localhost:10.0", "localhost:10.0")
    assert display.sockets == {}


def test_the_cookie_comes_along_and_is_shown_nowhere(top: Path) -> None:
    cookies = top / "cookies"
    cookies.write_bytes(entry(ANY, b"", b"3", b"geheim"))
    display = read_display({"DISPLAY": ":3", "XAUTHORITY": str(cookies)}, top)

    assert display.files["hotdesk/Xauthority"].endswith(b"geheim")
    assert display.environment["XAUTHORITY"] == "/run/hotdesk/Xauthority"
    assert "geheim" not in repr(display)


@pytest.mark.parametrize(
    "environment",
    [{}, {"DISPLAY": ""}, {"DISPLAY": ":4"}, {"DISPLAY": "nonsense"}, {"WAYLAND_DISPLAY": "wayland-7"}],
)
def test_without_any_it_says_what_was_looked_at(top: Path, environment: dict[str, str]) -> None:
    with pytest.raises(EngineError) as refused:
        read_display(environment, top)

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        said = f"{name} is `{environment[name]}`" if environment.get(name) else f"{name} is not set"
        assert said in refused.value.why


def test_cookies_of_this_host_are_made_good_for_any_and_others_stay_out() -> None:
    content = (
        entry(INTERNET, b"\1\2\3\4", b"3", b"elsewhere")
        + entry(LOCAL, b"here", b"5", b"other display")
        + entry(LOCAL, b"here", b"3", b"ours")
    )

    found = cookies_for(content, "3", "here")

    assert found == entry(ANY, b"", b"", b"ours")


def test_a_host_that_was_renamed_still_finds_its_cookie() -> None:
    content = entry(LOCAL, b"before", b"3", b"ours")

    assert cookies_for(content, "3", "now") == entry(ANY, b"", b"", b"ours")


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=60))
def test_what_is_behind_a_damage_does_not_count_and_does_no_harm(noise: bytes, cut: int) -> None:
    whole = entry(LOCAL, b"here", b"3", b"ours")
    cookies_for(noise, "3", "here")

    assert cookies_for(whole + whole[:cut][: len(whole) - 1], "3", "here") == entry(ANY, b"", b"", b"ours")
