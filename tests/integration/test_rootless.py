"""Podman for an ordinary user: no daemon, no root, and files that belong to that user all the same."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.support.engines import podman_settings
from tests.support.folders import open_folder
from tests.support.host import lacking
from tests.support.trees import a_tree_for_containers

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

# What is imported lazily has to be there before this process is somebody else, who may not read it.
_AS_USER = """
import csv, ctypes, json, os, pickle, pwd, select, subprocess, sys, tempfile
from pathlib import Path
import hotdesk.engines.trouble, hotdesk.engines.waiting
from hotdesk.engines.containers import run
from hotdesk.engines.loading import load
from hotdesk.engines.request import ContainerRequest
from hotdesk.errors import HotdeskError
from tests.support.busybox import a_shadow_file, busybox_image
user = pwd.getpwnam(sys.argv[1])
image = busybox_image(a_shadow_file())
os.initgroups(user.pw_name, user.pw_gid)
os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
home = Path(user.pw_dir)
os.chdir(home)
try:
    loaded = load("podman", image, "localhost/hotdesk/test:rootless")
    assert loaded.id == image.id
    request = ContainerRequest(
        image=loaded, name="hotdesk-test", command=tuple(sys.argv[2:]), home=home / "home",
        project=home / "project", hostname="desk",
    )
    sys.exit(run(request, home / "inside"))
except HotdeskError as error:
    print(error, file=sys.stderr)
    sys.exit(99)
"""


_BUILDS = """
import json, os, psutil, pwd, subprocess, sys, tempfile
from pathlib import Path
import hotdesk.engines.programs_in_container, hotdesk.engines.trouble
from hotdesk.engines.programs import Program, open_root
user = pwd.getpwnam(sys.argv[1])
os.initgroups(user.pw_name, user.pw_gid)
os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
home = Path(user.pw_dir)
os.chdir(home)

def run(script, root):
    ended = inside.run(Program(command=("/bin/sh", "-c", script), environment={"PATH": "/bin"}, root=root))
    sys.stdout.write(ended.said.decode())

with open_root(home / "tree", changing=True) as inside:
    run("id -u; chown 7 /etc/passwd && echo made > /made; chmod 4755 /bin/id; ls /etc", root=True)
    run("id -u; echo > /made", root=False)
"""


class Somebody:
    """A user made for the test, with an empty Podman of his own."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home
        self.uid = pwd.getpwnam(name).pw_uid
        for folder in ("run", "home", "project", "inside", "podman"):
            (home / folder).mkdir(mode=0o700)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("CONTAINER", "XDG_"))},
            **podman_settings(home / "podman"),
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home / "run"),
        }
        for path in [home, *home.rglob("*")]:
            os.chown(path, self.uid, pwd.getpwnam(name).pw_gid)

    def run(self, *command: str, program: str = _AS_USER) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, self.name, *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def end(self) -> None:
        """End what Podman leaves running: a user who has processes is not removed."""
        left = [process for process in psutil.process_iter() if self._is_of(process)]
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=30)

    def _is_of(self, process: psutil.Process) -> bool:
        try:
            return self.uid in process.uids()
        except psutil.NoSuchProcess:
            return False


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    if os.geteuid():
        pytest.skip("only root can make users")
    for program in ("podman", "newuidmap", "slirp4netns", "useradd"):
        if not shutil.which(program):
            lacking(f"this host has no {program}")
    name = f"hotdesk-{os.urandom(4).hex()}"
    with open_folder() as folder:
        subprocess.run(["useradd", "--create-home", "--base-dir", str(folder), name], check=True)
        user = Somebody(name, folder / name)
        try:
            yield user
        finally:
            user.end()
            # One that ended and that nobody reaped counts as running without `--force`.
            subprocess.run(["userdel", "--force", name], check=True)


def test_what_it_writes_belongs_to_the_user(somebody: Somebody) -> None:
    script = "touch made; mkdir ~/made; cat /proc/self/status; exit 5"

    done = somebody.run("sh", "-c", script)

    assert (done.returncode, done.stderr) == (5, "")
    for made in (somebody.home / "project" / "made", somebody.home / "home" / "made"):
        assert made.stat().st_uid == somebody.uid
    assert "CapEff:\t0000000000000000" in done.stdout
    assert "NoNewPrivs:\t1" in done.stdout


def test_without_ids_to_be_other_users_the_cure_is_said(somebody: Somebody) -> None:
    for option, file in (("--del-subuids", "/etc/subuid"), ("--del-subgids", "/etc/subgid")):
        for line in Path(file).read_text().splitlines():
            name, first, count = line.split(":")
            if name == somebody.name:
                given = f"{first}-{int(first) + int(count) - 1}"
                subprocess.run(["usermod", option, given, name], check=True)

    done = somebody.run("true")

    assert done.returncode == 99
    assert f"/etc/subuid gives `{somebody.name}` no ids" in done.stderr
    assert "--add-subuids" in done.stderr


def test_a_build_s_programs_run_there_as_well(somebody: Somebody) -> None:
    tree = a_tree_for_containers(somebody.home)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, somebody.uid, pwd.getpwnam(somebody.name).pw_gid, follow_symlinks=False)
    somebody.environment["HOTDESK_BUILDER"] = "podman"

    done = somebody.run(program=_BUILDS)

    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.split("\n")[:4] == ["0", "passwd", "profile", "1000"]
    assert (tree / "made").read_text() == "made\n"
    assert (tree / "bin/id").stat().st_mode & 0o7777 == 0o4755
    assert {path.lstat().st_uid for path in tree.rglob("*")} == {somebody.uid}
