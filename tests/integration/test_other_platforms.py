"""Images for a processor that this machine does not have: with an emulator, and without one.

The kernel has a register of emulators for each user namespace, so that these tests leave the host's alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.commandline import PROGRAM, Hotdesk
from tests.support.host import lacking
from tests.support.registry import docker_registry, require

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

OTHER = "linux/arm64"
_ELF = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00".decode()
_MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff".decode()
_REGISTER = """
register=/proc/sys/fs/binfmt_misc
mount -t binfmt_misc binfmt_misc $register
test -z "$1" || printf %s "$1" > $register/register
shift
exec "$@"
"""
_SMALL = """\
[desk]
name = "small"
python = "3.13"
base = "debian:trixie"

[packages]
pypi = ["numpy", "six"]
"""
_TRY = """
import sys
from pathlib import Path
from hotdesk.engines.emulation import require_programs
require_programs(sys.argv[1], Path(sys.argv[2]))
"""


def with_emulator(flags: str | None) -> list[str]:
    """The start of a command for which an emulator is registered under these flags, or none."""
    if os.uname().machine != "x86_64":
        pytest.skip("this machine's own processor is the other one")
    emulator = shutil.which("qemu-aarch64-static")
    if not emulator:
        lacking("qemu-aarch64-static is not installed: no other processor can be emulated")
    line = "" if flags is None else f":arm64:M::{_ELF}:{_MASK}:{Path(emulator).resolve()}:{flags}"
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", _REGISTER, "sh", line]
    tried = subprocess.run([*argv, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this kernel keeps no register of emulators for a namespace: {tried.stderr.strip()}")
    return argv


@pytest.mark.parametrize("flags", [None, ""], ids=["none", "one that the sandbox cannot reach"])
def test_without_an_emulator_it_is_said_before_any_download(
    namespaces: None, tmp_path: Path, flags: str | None
) -> None:
    desk = Hotdesk(tmp_path, tmp_path / "store", tmp_path / "data")
    desk.run("init", "sdcnd-term1")

    refused = subprocess.run(
        [*with_emulator(flags), *PROGRAM, "build", "--platform", OTHER],
        cwd=desk.folder,
        env=desk.variables(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert f"error: an image for `{OTHER}` cannot be built here" in refused.stderr
    assert "this machine is x86_64, and has no emulator" in refused.stderr
    assert "apt install qemu-user-static" in refused.stderr
    assert list((desk.store / "downloads").glob("*")) == []


def test_with_an_emulator_its_programs_run(namespaces: None, tmp_path: Path) -> None:
    subprocess.run([*with_emulator("F"), sys.executable, "-c", _TRY, OTHER, str(tmp_path)], check=True)


@pytest.mark.skipif("HOTDESK_TEST_ARM64" not in os.environ, reason="emulated, it takes minutes")
def test_the_image_for_another_platform_is_built_and_pushed_beside_ones_own(
    namespaces: None, session_store: Path, tmp_path: Path
) -> None:
    (tmp_path / "hotdesk.toml").write_text(_SMALL)
    desk = Hotdesk(tmp_path, session_store, tmp_path / "data")
    desk.run("lock")
    subprocess.run(
        [*with_emulator("F"), *PROGRAM, "build", "--platform", OTHER],
        cwd=desk.folder,
        env=desk.variables(),
        check=True,
        timeout=1500,
    )

    image = desk.json(
        "build", "--platform", OTHER, "--output", "small.tar"
    )  # what is there needs no emulator
    verified = desk.json("verify", "--platform", OTHER, "small.tar")
    with docker_registry(tmp_path / "registry") as registry:
        reference = f"{registry.host}/team/small:1"
        own = desk.json("push", reference)
        other = desk.json("push", "--platform", OTHER, "--join", reference)
        index = skopeo("inspect", "--raw", reference)
        found = {
            name: skopeo("--override-arch", name, "inspect", reference)["Architecture"]
            for name in ("amd64", "arm64")
        }
        copied = Hotdesk(desk.folder, tmp_path / "store", desk.data).json(
            "pull", "--platform", OTHER, reference
        )

    assert (image["platform"], verified["problems"], verified["differences"]) == (OTHER, [], [])
    assert {row["digest"]: row["platform"]["architecture"] for row in index["manifests"]} == {
        own["manifest"]: "amd64",
        other["manifest"]: "arm64",
    }
    assert found == {"amd64": "amd64", "arm64": "arm64"}
    assert copied["digest"] == other["manifest"] == image["manifest"]


def skopeo(*arguments: str) -> Any:
    require("skopeo")
    *options, reference = arguments
    command = ["skopeo", *options, "--tls-verify=false", f"docker://{reference}"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
