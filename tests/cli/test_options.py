"""The options of engines, as far as they are understood without one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hotdesk.cli.options import amount_of_memory

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.commandline import Hotdesk


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4G", 4 << 30),
        ("4g", 4 << 30),
        ("512M", 512 << 20),
        ("1.5 GiB", 3 << 29),
        ("1048576", 1 << 20),
        ("8kB", 8192),
    ],
)
def test_amounts_of_memory_are_read_as_people_write_them(text: str, amount: int) -> None:
    assert amount_of_memory(text) == amount


@pytest.mark.parametrize("text", ["", "much", "4X", "-1G", "4GG"])
def test_what_is_no_amount_is_none(text: str) -> None:
    assert amount_of_memory(text) is None


@pytest.mark.parametrize("limit", [("--memory", "4G"), ("--cpus", "2")])
def test_the_sandbox_has_no_limits(hotdesk: Hotdesk, limit: tuple[str, str]) -> None:
    done = hotdesk.try_("up", "sdcnd-term1", *limit)

    assert done.returncode == 2
    assert "the sandbox has no limits" in done.stderr
    assert "--engine docker" in done.stderr


@pytest.mark.parametrize("arguments", [("--engine", "dokcer"), ("--memory", "much"), ("--cpus", "0")])
def test_what_is_no_engine_and_no_limit_is_refused(hotdesk: Hotdesk, arguments: tuple[str, str]) -> None:
    done = hotdesk.try_("run", *arguments, "true")

    assert done.returncode == 125
    assert arguments[0] in done.stderr


def test_a_default_engine_that_is_none_is_refused_before_anything_else(
    hotdesk: Hotdesk, tmp_path: Path
) -> None:
    done = replace(hotdesk, environment={**hotdesk.environment, "HOTDESK_ENGINE": "dokcer"}).try_(
        "up", "sdcnd-term1"
    )

    assert done.returncode == 1
    assert "the variable HOTDESK_ENGINE names no engine" in done.stderr
    assert not hotdesk.store.exists()


@pytest.mark.parametrize(
    ("display", "engine", "said"),
    [
        ("", "sandbox", "there is no display that the desk could have"),
        ("localhost:10", "docker", "the display `localhost:10` is out of reach for a container"),
    ],
)
def test_a_display_that_cannot_be_given_is_refused_before_anything_else(
    hotdesk: Hotdesk, display: str, engine: str, said: str
) -> None:
    environment = {**hotdesk.environment, "DISPLAY": display, "WAYLAND_DISPLAY": ""}
    with_display = replace(hotdesk, environment=environment)

    done = with_display.try_("up", "sdcnd-term1", "--display", "--engine", engine)

    assert done.returncode == 1
    assert said in done.stderr
    assert not hotdesk.store.exists()
