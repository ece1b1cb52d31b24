"""What people do without hotdesk: a Dockerfile with pip, or with BuildKit, uv and cache mounts.

A daemon of our own, with its own folder, so that pruning caches touches nothing of the user's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from benchmarks import packages
from benchmarks.measure import BenchmarkError, Finished, check_token, free_port, run, wait_until_it_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from hotdesk.lock import LockedVariant

Recipe = Literal["pip", "uv"]

_BASE = "hotdesk-benchmark-base"
_TOKEN = "benchmark-token"
_HOSTS_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_BUNDLE = "/opt/ca-certificates.crt"  # where an upgrade of ca-certificates leaves it alone

# The usual advice of both tools' documentation: system packages first, then Python's, which change oftener.
# uv compiles no bytecode here: it would make the build longer, and the first start counts in the same sum.
_DOCKERFILES: dict[Recipe, str] = {
    "pip": """\
FROM {base}
RUN apt-get update && apt-get install -y --no-install-recommends {debian} && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 desk && mkdir /home/desk/work && chown desk: /home/desk/work
RUN python3 -m venv /opt/desk
COPY requirements.txt /tmp/requirements.txt
RUN /opt/desk/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt
USER desk
WORKDIR /home/desk/work
ENV PATH=/opt/desk/bin:/usr/bin:/bin
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
""",
    "uv": """\
FROM {base}
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \\
    apt-get update && apt-get install -y --no-install-recommends {debian}
RUN useradd --create-home --uid 1000 desk && mkdir /home/desk/work && chown desk: /home/desk/work
COPY uv /usr/local/bin/uv
RUN uv venv --python /usr/bin/python3 /opt/desk
COPY requirements.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/uv UV_LINK_MODE=copy \\
    uv pip install --python /opt/desk/bin/python --require-hashes -r /tmp/requirements.txt
USER desk
WORKDIR /home/desk/work
ENV PATH=/opt/desk/bin:/usr/bin:/bin
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
""",
}


def missing_tools() -> list[str]:
    """What must be installed or given before `Daemon` and `Docker` can work; empty when all is there."""
    missing = [f"`{tool}`" for tool in ("dockerd", "debootstrap", "apt-get") if not shutil.which(tool)]
    if os.geteuid():
        missing.append("root, to run a Docker daemon and debootstrap")
    if not _docker_path():
        missing.append("`docker` with BuildKit")
    return missing


def _docker_path() -> str | None:
    """The first `docker` that can drive BuildKit: one with buildx, or one that has it built in."""
    for folder in os.get_exec_path():
        if path := shutil.which("docker", path=folder):
            buildx = subprocess.run([path, "buildx", "version"], capture_output=True, check=False)
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            words = version.stdout.removeprefix("Docker version ").split(".")
            if buildx.returncode == 0 or (words[0].isdecimal() and int(words[0]) < 23):
                return path
    return None


class Daemon:
    """A dockerd of our own with all its data below `folder`; gone, with its data, when closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.host = f"unix://{folder}/socket"
        self._had_bridge = Path("/sys/class/net/docker0").exists()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if _answers("unix:///var/run/docker.sock"):
            raise BenchmarkError("a Docker daemon runs already: stop it, the benchmark starts its own")
        self.folder.mkdir(parents=True)
        with (self.folder / "log").open("wb") as log:
            options = {
                "--host": self.host,
                "--data-root": str(self.data),
                "--exec-root": f"{self.folder}/exec",
                "--pidfile": f"{self.folder}/pid",
            }
            words = [word for pair in options.items() for word in pair]
            self._process = subprocess.Popen(
                ["dockerd", *words], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while not _answers(self.host):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise BenchmarkError(f"dockerd does not start:\n{(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        for mount in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            point = mount.split()[1]
            if point.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        if not self._had_bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True, check=False)

    def _stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=60)


def _answers(host: str) -> bool:
    return not subprocess.run(["docker", "--host", host, "info"], capture_output=True, check=False).returncode


@dataclass(frozen=True, slots=True)
class Opened:
    """Seconds of `docker build`, and of `docker run` until Jupyter answers."""

    build: float
    start: float


class Docker:
    """Builds and runs the packages of one lock; `scratch` holds the build contexts."""

    def __init__(self, daemon: Daemon, locked: LockedVariant, scratch: Path) -> None:
        self._program = _docker_path() or "docker"
        self._host = daemon.host
        self._daemon = daemon
        self._locked = locked
        self._scratch = scratch
        self._base = ""  # the reference of what `FROM` names

    def version(self) -> str:
        return self._docker("version", "--format", "{{.Server.Version}}").output.strip()

    def make_base(self, registry: str) -> None:
        """Put what `FROM` names, Debian's minimal system and its Python, into `registry`; keep it as well."""
        release = self._locked.base.partition(":")[2]
        archive = self._scratch / f"{release}.tar"
        if not archive.exists():
            tree = self._scratch / f"{release}-tree"
            _make_tree(tree, release)
            partial = archive.with_suffix(".partial")
            run(["tar", "--numeric-owner", "-C", tree, "-cf", partial, "."])
            partial.rename(archive)
            shutil.rmtree(tree)
        settings = {"SSL_CERT_FILE": _BUNDLE, "PIP_CERT": _BUNDLE, **packages.index_variables()}
        changes = [word for pair in settings.items() for word in ("--change", f"ENV {pair[0]}={pair[1]}")]
        self._base = f"{registry}/{_BASE}"
        self._docker("import", *changes, str(archive), self._base)
        self._docker("push", "--quiet", self._base)

    def forget(self) -> None:
        """Remove every image, and the whole build cache with its cache mounts."""
        images = self._docker("images", "--quiet").output.split()
        if images:
            self._docker("rmi", "--force", *sorted(set(images)))
        self._docker("builder", "prune", "--all", "--force")

    def build(self, recipe: Recipe, name: str, extra: str = "") -> float:
        """Seconds of `docker build`; `extra` is one more line of requirements."""
        context = self._scratch / f"context-{recipe}"
        context.mkdir(exist_ok=True)
        debian = " ".join(packages.debian_names(self._locked))
        (context / "Dockerfile").write_text(_DOCKERFILES[recipe].format(base=self._base, debian=debian))
        (context / "requirements.txt").write_text(packages.requirements(self._locked) + extra)
        if recipe == "uv":
            from uv import find_uv_bin

            shutil.copy(find_uv_bin(), context / "uv")
        # On the host's network: address translation would only cost the build time.
        return self._docker("build", "--network", "host", "--tag", _image(name), str(context)).seconds

    def open(self, name: str) -> float:
        """Seconds from `docker run` until Jupyter answers; the container is removed afterwards."""
        port = free_port()
        started = time.monotonic()
        container = self._docker(
            "run", "--detach", "--env", f"JUPYTER_TOKEN={_TOKEN}",
            "--publish", f"127.0.0.1:{port}:8888", _image(name),
        ).output.strip()  # fmt: skip
        try:
            answered = wait_until_it_answers(port, _once_a_second(lambda: self._assert_running(container)))
            check_token(port, _TOKEN)
        finally:
            self._docker("rm", "--force", container)
        return answered - started

    def build_and_open(self, recipe: Recipe) -> Opened:
        """From nothing: no image, no cache."""
        self.forget()
        return Opened(build=self.build(recipe, recipe), start=self.open(recipe))

    def run(self, name: str, *command: str) -> float:
        """Seconds of `docker run --rm`, whole process."""
        return self._docker("run", "--rm", _image(name), *command).seconds

    def push(self, name: str, registry: str) -> float:
        """Seconds of `docker push` of an image to a registry on the loopback."""
        reference = f"{registry}/hotdesk-benchmark:{name}"
        self._docker("tag", _image(name), reference)
        seconds = self._docker("push", "--quiet", reference).seconds
        self._docker("rmi", reference)
        return seconds

    @contextmanager
    def by_default(self) -> Iterator[None]:
        """What hotdesk itself starts in this process finds this daemon."""
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = self._host
        try:
            yield
        finally:
            if before is None:
                del os.environ["DOCKER_HOST"]
            else:
                os.environ["DOCKER_HOST"] = before

    def load(self, archive: Iterable[bytes]) -> float:
        """Seconds of `docker load` of an archive that is written into it while it is made."""
        started = time.monotonic()
        with subprocess.Popen(
            [self._program, "--host", self._host, "load", "--quiet"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as process:
            assert process.stdin
            with process.stdin as pipe:
                for piece in archive:
                    pipe.write(piece)
        if process.returncode:
            raise BenchmarkError(f"docker load exited {process.returncode}")
        return time.monotonic() - started

    def remove(self, image: str) -> None:
        self._docker("rmi", "--force", image)

    def data(self) -> Path:
        """Where the daemon keeps images and caches."""
        return self._daemon.data

    def _assert_running(self, container: str) -> None:
        state = self._docker("inspect", "--format", "{{.State.Running}}", container).output.strip()
        if state != "true":
            raise BenchmarkError(f"the container ended:\n{self._docker('logs', container).output[-3000:]}")

    def _docker(self, *words: str) -> Finished:
        env = {**os.environ, "DOCKER_HOST": self._host, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
        return run([self._program, *words], env=env)


def _once_a_second(check: Callable[[], None]) -> Callable[[], None]:
    """`check`, but seldom: asking the daemon takes it longer than many polls of the port."""
    last = time.monotonic()

    def maybe() -> None:
        nonlocal last
        if time.monotonic() - last > 1:
            check()
            last = time.monotonic()

    return maybe


def _image(name: str) -> str:
    return f"hotdesk-benchmark:{name}"


def _make_tree(tree: Path, release: str) -> None:
    archives = packages.debian_archives(release)
    include = "ca-certificates,python3,python3-venv"
    shutil.rmtree(tree, ignore_errors=True)
    run(["debootstrap", "--variant=minbase", f"--include={include}", release, tree, archives[release]])
    lines = [f"deb {address} {suite} main\n" for suite, address in archives.items()]
    (tree / "etc/apt/sources.list").write_text("".join(lines))
    # The machine may have a certificate authority of its own; without a bundle the new system's must do.
    own = tree / _HOSTS_BUNDLE.relative_to("/")
    shutil.copy(_HOSTS_BUNDLE if _HOSTS_BUNDLE.exists() else own, tree / _BUNDLE.removeprefix("/"))
    shutil.rmtree(tree / "var/cache/apt/archives", ignore_errors=True)
