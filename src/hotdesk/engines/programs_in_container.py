"""A build's programs in a container of Docker or Podman, on a copy of the tree.

    create     from an image with nothing in it; nothing runs yet
    cp         the tree, as an archive; all of it belongs to root inside
    start      `inside.pl begin`, which ends when its input does: at our own end, whatever ends us
    exec       `inside.pl run` for each program, with what it is shown in front of it and what it made behind
    export     the tree as it is now, where it may have changed
    rm         in any case

Programs get what the sandbox gives them: the same filter of system calls, user numbers, variables, and paths.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hotdesk.engines.client import Client, pour
from hotdesk.engines.programs import Ended, read_said
from hotdesk.engines.request import USER_ID
from hotdesk.engines.seccomp import pretend_ownership, protect_host
from hotdesk.engines.trees import archived, plain_file, plain_place, unpack
from hotdesk.errors import EngineError
from hotdesk.oci import tar
from hotdesk.portable.machine import boot, user_ids
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from hotdesk.engines.programs import Program
    from hotdesk.engines.request import ContainerEngineName

_NOTHING = "localhost/hotdesk/nothing:1"
_LABEL = "org.hotdesk.builder"
_EMPTY = ("dev", "proc", "run", "sys", "tmp")
"""What is in these folders is the engine's, or gone after each program."""

_MADE_BY_ENGINES = (
    ".dockerenv", "etc/group", "etc/hostname", "etc/hosts", "etc/mtab", "etc/passwd", "etc/resolv.conf",
)  # fmt: skip
# To unpack archives and to become another user; SYS_ADMIN is to unmount what an engine mounts in /etc, and
# inside.pl gives it up before it starts any other program.
_RIGHTS = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_ADMIN", "SYS_CHROOT",
)  # fmt: skip
_SCRIPT = Path(__file__).with_name("inside.pl").read_text(encoding="ascii")
_CHUNK = 1 << 20
_CLOCK_CORRECTED = 60  # seconds, by which the system may see its own boot elsewhere


@contextmanager
def open_container(
    engine: ContainerEngineName, tree: Path, *, changing: bool, network: bool
) -> Iterator[ContainerRoot]:
    """A container with a copy of `tree`; where it is `changing`, what became of the copy replaces that."""
    client = Client.of(engine)
    _clean_up(client)
    _have_nothing(client)
    name = f"hotdesk-build-{os.urandom(6).hex()}"
    with ExitStack() as stack:
        stack.callback(client.try_, "rm", "--force", "--volumes", name)
        client.ask(*_create(name, tree, network=network))
        content = chain(archived(tree, "", without=_EMPTY), _folders(tree), (tar.END,))
        client.feed(("cp", "-", f"{name}:/"), content, check=True)
        stack.enter_context(_started(client, name))
        root = ContainerRoot(client, name, tree.parent)
        yield root
        if changing:
            _take_back(client, name, tree, root.covered)


def _create(name: str, tree: Path, *, network: bool) -> list[str]:
    absent = [f"/{path}" for path in _MADE_BY_ENGINES if not os.path.lexists(tree / path)]
    step = ["wait"] if network else ["begin", *absent]
    return [
        *("create", "--interactive", "--rm", "--pull", "never", "--name", name),
        *("--label", f"{_LABEL}={json.dumps(_ourselves())}"),
        *("--hostname", "desk", "--network", "host" if network else "none"),
        *("--cap-drop", "ALL", *(word for right in _RIGHTS for word in ("--cap-add", right))),
        *("--security-opt", "no-new-privileges", "--security-opt", "label=disable"),
        *("--tmpfs", "/run:rw,exec,mode=755", "--tmpfs", "/tmp:rw,exec,mode=1777"),  # noqa: S108
        *("--log-driver", "none", "--user", "0:0", "--workdir", "/"),
        *(_NOTHING, "/usr/bin/perl", "-e", _SCRIPT, *step),
    ]


def _folders(tree: Path) -> Iterator[bytes]:
    """Mount points that the tree may lack."""
    for path in _EMPTY:
        if not os.path.lexists(tree / path):
            yield tar.header("directory", path, mode=0o755)


def _have_nothing(client: Client) -> None:
    """The image with nothing in it, which stays."""
    if client.image_id([_NOTHING]) is None:
        client.feed(("import", "-", _NOTHING), [tar.END * 10], check=True)


@contextmanager
def _started(client: Client, name: str) -> Iterator[None]:
    """The container's first process, as long as this lasts."""
    with _child(client, ("start", "--attach", "--interactive", name), subprocess.STDOUT) as process:
        assert process.stdin
        assert process.stdout
        if process.stdout.readline() != b"ready\n":
            process.stdin.close()
            raise client.refused(("start",), process.stdout.read().decode(errors="replace"))
        try:
            yield
        finally:
            client.try_("rm", "--force", "--volumes", name)


@contextmanager
def _child(
    client: Client, arguments: Sequence[str], stderr: int | IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            client.command(arguments),
            env=client.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            process_group=0,  # Ctrl-C is for us, who end it
        )
    except OSError as error:
        raise client.missing(error) from None
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


class ContainerRoot:
    """`covered` are the paths of the tree that programs saw other files at.

    What comes back lands beside where it goes, or in the folder `beside`: a system's /tmp may be small.
    """

    def __init__(self, client: Client, name: str, beside: Path) -> None:
        self._client = client
        self._name = name
        self._beside = beside
        self.covered: set[str] = set()

    def run(self, program: Program) -> Ended:
        self.covered.update(path.lstrip("/") for path in program.shown)
        beside = next((place.parent for place in program.made.values()), self._beside)
        with (
            tempfile.TemporaryDirectory(prefix="hotdesk-", dir=beside) as scratch,
            tempfile.TemporaryFile() as trouble,
        ):
            number = Path(scratch).name
            log, feed = f"/run/{number}.log", f"/run/{number}.in"
            command = ("exec", "--interactive", self._name, "/usr/bin/perl", "-e", _SCRIPT, "run")
            with _child(self._client, command, trouble) as process:
                pour(process.stdin, _told(program, feed, log))
                assert process.stdout
                status = process.stdout.read(10)
                answer = Path(scratch, "answer")
                if status.isdigit():
                    answer.mkdir()
                    _unpack_from(self._client, "exec", process, trouble, answer)
            if not status.isdigit():
                raise self.not_started(read_said(trouble).decode(errors="replace"))
            for inside, place in program.made.items():
                _replace(place, plain_place(answer, inside.strip("/")))
            with plain_file(answer, log.strip("/")).open("rb") as said:
                return Ended(int(status), read_said(said))

    def not_started(self, said: str) -> EngineError:
        return self._client.refused(("exec",), said)


def _told(program: Program, feed: str, log: str) -> Iterator[bytes]:
    """What `inside.pl run` reads."""
    user = 0 if program.root else USER_ID
    code = pretend_ownership() if program.root else protect_host()
    yield _fields([code.hex(), str(user), program.directory, feed, log])
    yield _fields(list(program.made))
    yield _fields([*program.shown, *program.room])
    yield _fields([f"{name}={value}" for name, value in program.environment.items()])
    yield _fields(program.command)
    yield tar.header("file", feed.strip("/"), mode=0o644, size=len(program.stdin))
    yield program.stdin + tar.padding(len(program.stdin))
    for inside, place in (*program.room.items(), *program.made.items()):
        yield from archived(place, inside.strip("/"), owner=user)
    for inside, place in program.shown.items():
        yield from archived(place, inside.strip("/"), needed=program.needed)
    yield tar.END


def _fields(words: Sequence[str]) -> bytes:
    content = b"\0".join(os.fsencode(word) for word in words)
    return b"%010d%s" % (len(content), content)


def _unpack_from(
    client: Client,
    command: str,
    process: subprocess.Popen[bytes],
    trouble: IO[bytes],
    into: Path,
    *,
    without: Collection[str] = (),
) -> None:
    """What an engine's command writes to `into`; where it broke off, its own words say why, in `trouble`."""
    assert process.stdout
    wrong = None
    try:
        unpack(_chunks(process.stdout), into, without=without)
    except EngineError as error:
        wrong = error
    if not process.stdout.read(1) and process.wait():
        raise client.refused((command,), read_said(trouble).decode(errors="replace"))
    if wrong:
        raise wrong


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _replace(place: Path, made: Path) -> None:
    if made.is_symlink() or not made.is_dir():
        raise EngineError(
            "what programs left in a container cannot be taken over", why=f"/{made.name} is no folder"
        )
    remove_tree(place)
    shutil.move(made, place)


def _take_back(client: Client, name: str, tree: Path, covered: Iterable[str]) -> None:
    """Replace `tree` by what is in the container, but for what programs saw other files at."""
    made = tree.with_name(f"{tree.name}-made")
    made.mkdir()
    try:
        with tempfile.TemporaryFile() as trouble, _child(client, ("export", name), trouble) as process:
            _unpack_from(client, "export", process, trouble, made, without=(*_EMPTY, ".dockerenv"))
        for path in covered:
            if os.path.lexists(tree / path):
                (tree / path).replace(plain_place(made, path))
        remove_tree(tree)
        made.rename(tree)
    except BaseException:
        remove_tree(made)
        raise


def _ourselves() -> Mapping[str, object]:
    """What this process is, so that no other is taken for it."""
    import psutil

    return {
        "host": platform.node(),
        "user": user_ids()[0],
        "boot": boot(),
        "processes": _process_namespace(),
        "pid": os.getpid(),
        "since": psutil.Process().create_time(),
    }


def _process_namespace() -> str:
    """Where our number means us; containers on one machine may have the same host name."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _clean_up(client: Client) -> None:
    """Remove what was left by processes of this machine that were killed before a container was started."""
    names = client.try_("ps", "--all", "--quiet", "--filter", f"label={_LABEL}").stdout.split()
    for name in names:
        label = client.try_(
            "container", "inspect", "--format", f'{{{{index .Config.Labels "{_LABEL}"}}}}', name
        )
        if _is_gone(label.stdout):
            client.try_("rm", "--force", "--volumes", name)


def _is_gone(label: str) -> bool:
    import psutil

    try:
        maker = json.loads(label)
        if (maker["host"], maker["user"]) != (platform.node(), user_ids()[0]):
            return False
        if maker["boot"] != boot():  # elsewhere than on Linux its name changes with the clock
            return bool(maker["since"] < psutil.boot_time() - _CLOCK_CORRECTED)
        if maker["processes"] != _process_namespace():
            return False
        since = psutil.Process(maker["pid"]).create_time()
        return bool(abs(since - maker["since"]) > _CLOCK_CORRECTED)
    except psutil.NoSuchProcess:
        return True
    except (ValueError, LookupError, TypeError, psutil.Error):
        return False
