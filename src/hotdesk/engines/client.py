"""Docker and Podman through their command line, which knows contexts, credentials and Docker Desktop."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping, Sequence

    from hotdesk.engines.request import ContainerEngineName
    from hotdesk.errors import EngineError


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """What differs: `variables` of the caller's choose the server, `options` every container gets."""

    program: ContainerEngineName
    title: str
    variables: tuple[str, ...]
    options: tuple[str, ...]


DOCKER = ContainerEngine(
    "docker",
    "Docker",
    ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"),
    # Where the daemon maps users, the caller would be somebody else to the files of the host.
    ("--userns", "host"),
)
PODMAN = ContainerEngine(
    "podman",
    "Podman",
    ("CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
    # It hands its caller's proxies on by itself, also to a container without a network.
    ("--http-proxy=false",),
)
ENGINES: Mapping[ContainerEngineName, ContainerEngine] = {"docker": DOCKER, "podman": PODMAN}


@dataclass(frozen=True, slots=True)
class Server:
    """What an engine says of itself.

    `rootless`: its root is the caller. `containerd`: it keeps images as containerd does, each by the digest
    of its manifest. `virtual`: it runs in a virtual machine, which has files of this one but no sockets.
    """

    rootless: bool
    containerd: bool = False
    virtual: bool = False


@dataclass(frozen=True, slots=True)
class Client:
    """An engine as the caller with this environment reaches it."""

    engine: ContainerEngine
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @classmethod
    def of(cls, name: ContainerEngineName, chosen: Mapping[str, str] | None = None) -> Client:
        """`chosen` are the engine's variables as they were when a desk was started."""
        engine = ENGINES[name]
        if chosen is None:
            return cls(engine)
        others = {name: value for name, value in os.environ.items() if name not in engine.variables}
        return cls(engine, {**others, **chosen})

    @property
    def chosen(self) -> dict[str, str]:
        """The variables that lead to the same server again."""
        return {name: self.environment[name] for name in self.engine.variables if name in self.environment}

    def ask(self, *arguments: str) -> str:
        """What the command prints; `EngineError` with the cause where it fails."""
        done = self.try_(*arguments)
        if done.returncode:
            raise self.refused(arguments, done.stderr)
        return done.stdout

    def try_(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        import subprocess  # 6 ms, and the sandbox needs none of it

        try:
            return subprocess.run(
                self.command(arguments),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise self.missing(error) from None

    def feed(self, arguments: Sequence[str], chunks: Iterable[bytes], *, check: bool = False) -> str:
        """Write `chunks` to the command's input; what it said, on either stream.

        With `check`, `EngineError` with the cause where it fails.
        """
        import subprocess
        import tempfile

        with tempfile.TemporaryFile() as said:  # a pipe that nobody reads could fill up
            try:
                process = subprocess.Popen(
                    self.command(arguments),
                    env=self.environment,
                    stdin=subprocess.PIPE,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                raise self.missing(error) from None
            try:
                pour(process.stdin, chunks)
            except BaseException:
                process.kill()
                raise
            finally:
                process.wait()
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
        if check and process.returncode:
            raise self.refused(arguments, words)
        return words

    def command(self, arguments: Sequence[str]) -> list[str]:
        return [self.engine.program, *arguments]

    def server(self) -> Server:
        """Ask the engine what it is; `EngineError` where it does not answer."""
        if self.engine is PODMAN:
            return Server(
                rootless=self.ask("info", "--format", "{{.Host.Security.Rootless}}").strip() == "true"
            )
        wanted = '{"s":{{json .SecurityOptions}},"d":{{json .DriverStatus}},"o":{{json .OperatingSystem}}}'
        said = self.ask("info", "--format", wanted)
        match self._parsed("info", said):
            case {"s": security, "d": driver, "o": system}:
                return Server(
                    rootless="name=rootless" in (security or ()),
                    containerd=["driver-type", "io.containerd.snapshotter.v1"] in (driver or ()),
                    virtual=system == "Docker Desktop",
                )
        raise self.refused(("info",), said)

    def image_id(self, names: Sequence[str]) -> str | None:
        """What the engine calls the first of these images that it has."""
        said = self.try_("image", "inspect", "--format", "{{.Id}}", *names)
        if not said.stdout.strip():
            self.require()
            return None
        return _with_algorithm(said.stdout.split()[0])

    def layers(self) -> list[list[str]]:
        """The diff IDs of each image that the engine has; none where it does not say.

        Podman's listing fails while another process removes an image or adds one.
        """
        names = sorted(set(self.try_("image", "ls", "--all", "--quiet", "--no-trunc").stdout.split()))
        if not names:
            return []
        # Another process may remove one meanwhile: the others count all the same.
        said = self.try_("image", "inspect", "--format", "{{json .RootFS.Layers}}", *names).stdout
        return [self._parsed("image", line) or [] for line in said.splitlines()]

    def container(self, name: str) -> dict[str, Any] | None:
        """The state of a container, None where there is none; `EngineError` where the engine is not there."""
        done = self.try_("container", "inspect", "--format", "{{json .State}}", name)
        if done.returncode == 0:
            state: dict[str, Any] = self._parsed("container", done.stdout)
            return state
        self.require()
        return None

    def _parsed(self, command: str, said: str) -> Any:
        try:
            return json.loads(said)
        except (ValueError, RecursionError):
            raise self.refused((command,), said) from None

    def require(self) -> None:
        """`EngineError` with the cause where the engine does not answer."""
        self.ask(
            "version", "--format", "{{.Server.Version}}" if self.engine is DOCKER else "{{.Client.Version}}"
        )

    def missing(self, error: OSError) -> EngineError:
        from hotdesk.engines.trouble import program_missing

        return program_missing(self.engine, error)

    def refused(self, arguments: Sequence[str], said: str) -> EngineError:
        from hotdesk.engines.trouble import explain

        return explain(self, arguments, said)


def pour(stream: IO[bytes] | None, chunks: Iterable[bytes]) -> None:
    """Write all of it to a command's input and close that, or as much as the command takes."""
    assert stream is not None
    try:
        with stream:
            for chunk in chunks:
                stream.write(chunk)
    except BrokenPipeError:
        pass  # the command has ended; what it did is looked at by who wanted it


def _with_algorithm(identity: str) -> str:
    return identity if ":" in identity else f"sha256:{identity}"  # Podman leaves it out
