"""The way to the sandbox, which is for Linux alone: elsewhere, whoever wants it is told so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hotdesk.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hotdesk.engines.check import Check
    from hotdesk.engines.client import Client
    from hotdesk.engines.programs import Inside
    from hotdesk.engines.request import RunRequest

if sys.platform == "linux":

    def require_sandbox() -> None:
        """`EngineError` with the cause where this host makes no sandbox."""
        from hotdesk.engines import sandbox

        sandbox.require_sandbox()

    def may_have_sandbox() -> bool:
        """Whether nothing that can be read in a moment speaks against it."""
        from hotdesk.engines.namespaces import unprivileged_clone, user_namespaces

        return user_namespaces().ok and unprivileged_clone().ok

    def run(request: RunRequest) -> int:
        """Run in the foreground, in the sandbox."""
        from hotdesk.engines import sandbox

        return sandbox.run(request)

    def was_asked_to_end() -> bool:
        """Whether a signal said so while this process waited for the last command in the foreground."""
        from hotdesk.engines import waiting

        return waiting.was_asked_to_end()

    def runs_in_sandbox(program: Path) -> bool:
        """Whether the sandbox starts this program, which needs no other file, and it ends well."""
        from hotdesk.engines.bubblewrap import run_bwrap

        options = ("--unshare-user", "--unshare-all", "--ro-bind", str(program), "/program", "--dev", "/dev")
        return run_bwrap(options, ["/program"]).returncode == 0

    def sandbox_root(tree: Path, *, network: bool) -> Inside:
        """The root at `tree` for a build's programs."""
        from hotdesk.engines.programs_in_sandbox import SandboxRoot

        return SandboxRoot(tree, network=network)

    def call(client: Client, name: str, arguments: Sequence[str]) -> int:
        """The exit code of an engine's program that runs the container `name`, negative for a signal."""
        from hotdesk.engines import passing_on

        return passing_on.call(client, name, arguments)

    def sandbox_checks() -> list[Check]:
        """What the doctor finds out about the sandbox."""
        from hotdesk.engines import checks

        return [*checks.sandbox_starts(), checks.no_nested_namespaces(), checks.abstract_sockets()]

else:

    def _none_here() -> EngineError:
        return EngineError(
            "this machine makes no sandbox",
            why="a desk's programs are Linux programs, and the sandbox needs a Linux to run them",
            hint="install Docker or Podman, and start it",
        )

    def require_sandbox() -> None:
        """`EngineError` with the cause where this host makes no sandbox."""
        raise _none_here()

    def may_have_sandbox() -> bool:
        """Whether nothing that can be read in a moment speaks against it."""
        return False

    def run(request: RunRequest) -> int:  # noqa: ARG001
        """Run in the foreground, in the sandbox."""
        raise _none_here()

    def was_asked_to_end() -> bool:
        """Whether a signal said so: elsewhere Python raises an exception by itself."""
        return False

    def runs_in_sandbox(program: Path) -> bool:  # noqa: ARG001
        """Whether the sandbox starts this program, which needs no other file, and it ends well."""
        return False

    def sandbox_root(tree: Path, *, network: bool) -> Inside:  # noqa: ARG001
        """The root at `tree` for a build's programs."""
        raise _none_here()

    def call(client: Client, name: str, arguments: Sequence[str]) -> int:  # noqa: ARG001
        """The exit code of an engine's program that runs the container `name`."""
        import subprocess

        return subprocess.call(client.command(arguments), env=client.environment)

    def sandbox_checks() -> list[Check]:
        """What the doctor finds out about the sandbox."""
        from hotdesk.engines.check import Check

        found = _none_here()
        return [Check("sandbox", ok=False, why=found.why, cure=found.hint, needed=False)]
