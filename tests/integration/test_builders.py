"""A build's programs in a container, where this host makes no sandbox or the user says so: the same bits."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.commandline import PROGRAM, Hotdesk
from tests.support.trees import a_tree_for_containers
from tests.support.waiting import eventually

from hotdesk.engines.programs import Program, open_root
from hotdesk.errors import EngineError
from hotdesk.portable.machine import boot

if TYPE_CHECKING:
    from tests.integration.container_engines import Engine

pytestmark = pytest.mark.integration

# docopt has no wheel.
_SPEC = """\
[desk]
name = "small"
python = "3.13"
base = "debian:trixie"
platforms = ["linux/amd64"]

[packages]
pypi = ["docopt", "six"]
debian = ["ca-certificates", "netbase"]
"""


@pytest.fixture(scope="module")
def built(
    namespaces: None, session_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Hotdesk, dict[str, Any]]:
    """A small desk, and its image as the sandbox made it."""
    desk = Hotdesk(
        tmp_path_factory.mktemp("small"),
        session_store,
        tmp_path_factory.mktemp("data"),
        {"HOTDESK_BUILDER": "sandbox"},
    )
    (desk.folder / "hotdesk.toml").write_text(_SPEC)
    desk.run("lock")
    return desk, desk.json("build")


def from_nothing(built: Hotdesk, engine: Engine, folder: Path, **environment: str) -> Hotdesk:
    """The same project with a store in which nothing is made yet: only the downloads are there."""
    project, store = folder / "project", folder / "store"
    project.mkdir()
    (store / "downloads").mkdir(parents=True)
    for name in ("hotdesk.toml", "hotdesk.lock"):
        shutil.copy(built.folder / name, project)
    lock = (built.folder / "hotdesk.lock").read_text()
    for download in (built.store / "downloads").iterdir():
        if download.name in lock:
            shutil.copyfile(download, store / "downloads" / download.name)
    store.chmod(0o700)
    return Hotdesk(project, store, folder / "data", {**engine.environment, **environment})


def build_containers(engine: Engine) -> list[str]:
    return engine.ask("ps", "-aq", "--no-trunc", "--filter", "label=org.hotdesk.builder").split()


def test_the_image_is_the_same(
    built: tuple[Hotdesk, dict[str, Any]], either_engine: Engine, tmp_path: Path
) -> None:
    desk = from_nothing(built[0], either_engine, tmp_path, HOTDESK_BUILDER=either_engine.name)

    assert desk.json("build", "--offline") == built[1]

    assert build_containers(either_engine) == []


def in_this_process(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_BUILDER", engine.name)
    for name, value in engine.environment.items():
        monkeypatch.setenv(name, value)


def shell(script: str, **how: Any) -> Program:
    return Program(command=("/bin/sh", "-c", script), environment={"PATH": "/usr/bin:/usr/sbin"}, **how)


_LOOKS_AROUND = """
id -u; cat /etc/profile; cd /etc; ls -d *; ls /.dockerenv /run /sys/class
chown 77:77 /etc/passwd && ls -n /etc/passwd
mknod /node c 1 3; ls /node
chmod 4711 /bin/id; echo made > /made
grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status
rm /bin/grep
exit 3
"""


def test_programs_have_nothing_of_the_engine_and_no_rights(
    either_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(either_engine, monkeypatch)
    tree = a_tree_for_containers(tmp_path)
    (tmp_path / "shown").write_text("shown\n")

    with open_root(tree, changing=True) as inside:
        root = inside.run(
            shell(
                _LOOKS_AROUND,
                root=True,
                shown={"/etc/profile": tmp_path / "shown"},
            )
        )
        user = inside.run(
            shell("id -u; echo > /etc/passwd; echo > /usr/x; cat /proc/self/status; cat", stdin=b"fed")
        )

    said = root.said.decode()
    assert root.status == 3, said
    assert said.startswith("0\nshown\npasswd\nprofile\n")
    for path in ("/.dockerenv", "/sys/class", "/node"):
        assert re.search(f"{path}'?: No such file", said), said
    assert re.search(r" 0 +0 .*/etc/passwd\n", said)
    assert said.endswith("CapEff:\t000000008004003b\nNoNewPrivs:\t1\nSeccomp:\t2\n")
    assert user.said.startswith(b"1000\n")
    assert b"\nCapEff:\t0000000000000000\n" in user.said
    assert user.said.endswith(b"fed")
    assert (tree / "made").read_text() == "made\n"
    assert (tree / "etc/profile").read_text() == "profile\n"
    assert (tree / "etc/passwd").read_text().startswith("root:")
    assert (tree / "bin/id").stat().st_mode & 0o7777 == 0o4711
    assert not (tree / "bin/grep").exists()
    assert sorted(path.name for path in (tree / "etc").iterdir()) == ["passwd", "profile"]
    assert {path.lstat().st_uid for path in tree.rglob("*")} == {os.geteuid()}


_OTHER_TAR = """\
#!/bin/sh
/usr/bin/cat /proc/self/status >> /rights
/usr/bin/real-tar "$@" || exit
[ "$1" = -xp ] || ! [ -e /fail ]
"""
_REPLACE_TAR = """
cat /usr/bin/tar > /usr/bin/real-tar
cat > /usr/bin/tar
chmod 755 /usr/bin/real-tar
"""


def test_a_package_that_brings_another_tar_gets_no_more_rights_by_it(
    either_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(either_engine, monkeypatch)
    tree = a_tree_for_containers(tmp_path)

    with open_root(tree, changing=True) as inside:
        inside.run(shell(_REPLACE_TAR, root=True, stdin=_OTHER_TAR.encode()))
        inside.run(shell("id"))
        inside.run(shell("id", root=True))
        with pytest.raises(EngineError, match="exec"):
            inside.run(shell("echo > /fail", root=True))

    rights = re.findall(r"Cap(?:Inh|Prm|Eff|Bnd):\t(\w+)", (tree / "rights").read_text())
    assert set(rights) == {"0000000000000000", "000000008004003b"}


_LEAVES = """
cat /run/shown
(sleep 1000 & sleep 1000 &) &
echo > /run/room/there
echo > /tmp/made/there
"""
_FINDS = """
echo /run/* /tmp/*
for process in /proc/[0-9]*; do cat $process/comm; done
"""


def test_nothing_is_left_of_a_program_but_what_it_made(
    either_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(either_engine, monkeypatch)
    tree = a_tree_for_containers(tmp_path)
    (tmp_path / "file").write_text("shown\n")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "room").mkdir()
    (tmp_path / "made").mkdir()

    with open_root(tree) as inside:
        first = inside.run(
            shell(
                _LEAVES,
                shown={"/run/shown": tmp_path / "link"},
                room={"/run/room": tmp_path / "room"},
                made={"/tmp/made": tmp_path / "made"},
            )
        )
        found = inside.run(shell(_FINDS)).said.decode()

    assert first.said == b"shown\n"
    assert (tmp_path / "made/there").exists()
    assert re.match(r"/run/\S+\.in /run/\S+\.log /tmp/\*\n", found), found
    assert "perl" in found
    assert "sleep" not in found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "made", "room", "tree"]


def test_a_log_that_was_made_a_link_is_not_followed(
    either_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(either_engine, monkeypatch)
    links = "perl -e 'unlink && symlink q(/etc/passwd), $_ for @ARGV' /run/*.log"

    with (
        open_root(a_tree_for_containers(tmp_path), changing=True) as inside,
        pytest.raises(EngineError, match="not where it was"),
    ):
        inside.run(shell(links, root=True))


_HOLD = """
import sys, time
from pathlib import Path
from hotdesk.engines.programs import open_root, Program
with open_root(Path(sys.argv[1])) as inside:
    print("open", flush=True)
    inside.run(Program(command=("/bin/sleep", "1000"), environment={}))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_one_that_is_ended(
    number: signal.Signals, either_engine: Engine, tmp_path: Path
) -> None:
    tree = a_tree_for_containers(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, os.fspath(tree)],
        env={**os.environ, **either_engine.environment, "HOTDESK_BUILDER": either_engine.name},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == b"open\n"
        time.sleep(0.5)
        process.send_signal(number)
    eventually(lambda: build_containers(either_engine) == [])


def test_what_was_left_before_it_started_is_removed_by_the_next(
    either_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_this_process(either_engine, monkeypatch)
    tree = a_tree_for_containers(tmp_path)
    with open_root(tree):
        pass
    now = time.time()
    us = {
        "host": os.uname().nodename,
        "user": os.geteuid(),
        "boot": boot(),
        "processes": os.readlink("/proc/self/ns/pid"),
        "pid": 999999999,
        "since": now,
    }

    def made_by(**other: object) -> str:
        label = f"org.hotdesk.builder={json.dumps({**us, **other})}"
        return either_engine.ask("create", "--label", label, "localhost/hotdesk/nothing:1", "true").strip()

    gone = {made_by(), made_by(boot="before", since=1.0)}
    others = {
        made_by(host="elsewhere"),
        made_by(user=77),
        made_by(processes="pid:[1]"),
        made_by(boot="another", since=now),
    }

    with open_root(tree):
        left = set(build_containers(either_engine))

    either_engine.ask("rm", *others)
    assert not gone & left
    assert others <= left


def test_on_a_host_without_namespaces_an_engine_that_answers_is_taken(
    built: tuple[Hotdesk, dict[str, Any]], docker: Engine, no_namespaces: list[str], tmp_path: Path
) -> None:
    """For builds and for desks, without a word."""
    desk = Hotdesk(built[0].folder, built[0].store, tmp_path / "data", docker.environment)

    def said(*command: str) -> str:
        done = subprocess.run(
            [*no_namespaces, *command],
            cwd=desk.folder,
            env=desk.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    builder = "from hotdesk.engines.programs import builder; print(builder())"
    assert said(sys.executable, "-c", builder) == "docker\n"
    mounts = "print('overlay' in open('/proc/self/mountinfo').readline())"
    assert said(*PROGRAM, "run", "--offline", "--", "python", "-c", f"import docopt; {mounts}") == "True\n"


def test_where_neither_is_to_be_had_the_cure_names_both(no_namespaces: list[str], tmp_path: Path) -> None:
    said = subprocess.run(
        [*no_namespaces, sys.executable, "-c", "from hotdesk.engines.programs import builder; builder()"],
        env={**os.environ, "PATH": "/usr/bin", "DOCKER_HOST": f"unix://{tmp_path}/none"},
        capture_output=True,
        text=True,
        check=False,
    ).stderr

    assert EngineError.__name__ in said
    assert "Docker or Podman" in said
