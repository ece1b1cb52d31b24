"""Completion for shells: a script that the shell accepts, and the answers that it asks for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.cli.test_desks import a_desk
from tests.support.host import lacking

if TYPE_CHECKING:
    from tests.support.commandline import Hotdesk

NO_RUN = {"bash": "-n", "zsh": "-n", "fish": "--no-execute"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_accepts(hotdesk: Hotdesk, shell: str) -> None:
    script = hotdesk.run("completion", shell)

    assert "_HOTDESK_COMPLETE" in script
    if shell != "bash" and shutil.which(shell) is None:
        lacking(f"{shell} is not installed")
    done = subprocess.run([shell, NO_RUN[shell]], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def complete(hotdesk: Hotdesk, line: str) -> set[str]:
    """What bash would offer at the end of `line`."""
    words = line.split(" ")
    asking = {
        "_HOTDESK_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    said = replace(hotdesk, environment=hotdesk.environment | asking).run()
    return {row.partition(",")[2] for row in said.splitlines()}


def test_commands_are_completed(hotdesk: Hotdesk) -> None:
    assert complete(hotdesk, "hotdesk st") == {"stop", "start"}
    assert complete(hotdesk, "hotdesk cache ") == {"gc", "verify"}


def test_options_are_completed(hotdesk: Hotdesk) -> None:
    assert complete(hotdesk, "hotdesk up --of") == {"--offline"}
    assert complete(hotdesk, "hotdesk run --network ") == {"host", "none"}


def test_desks_are_completed(hotdesk: Hotdesk) -> None:
    a_desk(hotdesk, "mine")
    a_desk(hotdesk, "other")

    assert complete(hotdesk, "hotdesk stop m") == {"mine"}


def test_the_script_works_in_bash_itself(hotdesk: Hotdesk) -> None:
    """As at the prompt: the script is sourced, and its function asked for what begins with `temp`."""
    wrapper = hotdesk.folder / "hotdesk"
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hotdesk "$@"\n')
    wrapper.chmod(0o755)
    code = """
    eval "$(./hotdesk completion bash)" || exit 1
    COMP_WORDS=(./hotdesk temp) COMP_CWORD=1
    _hotdesk_completion ./hotdesk
    echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", code],
        cwd=hotdesk.folder,
        env=hotdesk.variables(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == ["templates"], done.stderr
