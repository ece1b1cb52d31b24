"""What hotdesk installs is what uv installs: every path, every byte, every mode."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import DATA, INFO, WHEEL, write_wheel
from tests.support.environments import make_environment
from uv import find_uv_bin

from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.layers.contents import scan_tree
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotdesk.engines.request import Root

pytestmark = pytest.mark.integration

# What each installer writes about itself, and what makes a virtual environment.
OWN_FILES = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
OWN_PATHS = {"pyvenv.cfg", ".gitignore", ".lock", "CACHEDIR.TAG", "lib64", "bin/pydoc.bat"}

Listing = dict[str, tuple[int, int, str]]


@pytest.fixture(scope="session")
def python(desk_root: Root) -> str:
    """The version of the desk's Python."""
    interpreters = (desk_root.system / "usr/bin").glob("python3.*[0-9]")
    return min(interpreter.name for interpreter in interpreters).removeprefix("python")


def installed_by_hotdesk(wheels: Sequence[Path], store: Store, python: str) -> Listing:
    items = [
        make_wheel_tree(store, wheel, hashlib.sha256(wheel.name.encode()).hexdigest(), python)
        for wheel in wheels
    ]
    return listing(make_environment(store, items, python) / "tree")


def installed_by_uv(wheels: Sequence[Path], prefix: Path, system: Path, python: str) -> Listing:
    prefix.mkdir()
    script = """
        umask 022
        uv=$1 python=$2
        shift 2
        $uv venv --quiet --allow-existing --python "/usr/bin/python$python" /opt/desk
        rm -f /opt/desk/bin/activate* /opt/desk/bin/deactivate*
        $uv pip install --quiet --no-deps --link-mode copy --python /opt/desk/bin/python "$@"
    """
    options = [
        *("--unshare-all", "--ro-bind", str(system), "/", "--dev", "/dev", "--proc", "/proc"),
        *("--tmpfs", "/tmp", "--tmpfs", "/opt", "--bind", str(prefix), "/opt/desk"),
        *("--ro-bind", find_uv_bin(), "/tmp/uv"),
        *(part for wheel in wheels for part in ("--ro-bind", str(wheel), f"/tmp/wheels/{wheel.name}")),
        *("--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp"),
        *("--setenv", "UV_OFFLINE", "1", "--setenv", "UV_NO_CONFIG", "1"),
    ]
    names = [f"/tmp/wheels/{wheel.name}" for wheel in wheels]
    done = run_bwrap(options, ["/bin/sh", "-ec", script, "sh", "/tmp/uv", python, *names])
    assert done.returncode == 0, done.stdout.decode()
    return listing(prefix)


def listing(tree: Path) -> Listing:
    return {
        entry.path: (entry.mode, entry.size, entry.content)
        for entry in scan_tree(tree).entries
        if entry.path.rpartition("/")[2] not in OWN_FILES
        and entry.path not in OWN_PATHS
        and not entry.path.startswith("bin/python")
        and not {"_hotdesk", "zzz_hotdesk.pth"} & {*entry.path.split("/")}
    }


def differences(one: Listing, other: Listing) -> list[str]:
    paths = sorted(one.keys() | other.keys())
    return [
        f"{path}: {one.get(path)}, {other.get(path)}" for path in paths if one.get(path) != other.get(path)
    ]


def odd_wheel(folder: Path) -> Path:
    files = {
        "odd/__init__.py": b"",
        "odd/naïve, or not.py": b"x = 1\n",
        "odd/empty/": b"",
        "odd/__pycache__/old.cpython-313.pyc": b"stale",
        "odd/tool": b"\x7fELF",
        "odd/write_only": b"",
        "odd/windows.py": b"x = 1\r\n",
        "odd.pth": b"import odd\n",
        f"{DATA}/purelib/pure.py": b"",
        f"{DATA}/platlib/plat.so": b"\x7fELF",
        f"{DATA}/headers/odd.h": b"",
        f"{DATA}/headers/sub/odd.h": b"",
        f"{DATA}/data/share/jupyter/x.json": b"{}",
        f"{DATA}/data/share/run": b"#!python\n",
        f"{DATA}/data/top": b"",
        f"{DATA}/data/share/empty/": b"",
        f"{DATA}/purelib/hollow/": b"",
        f"{DATA}/scripts/plain": b"#!python\nprint(1)\n",
        f"{DATA}/scripts/window": b"#!pythonw\nprint(1)\n",
        f"{DATA}/scripts/flags": b"#!python -u\nprint(1)\n",
        f"{DATA}/scripts/dos": b"#!python\r\nprint(1)\r\n",
        f"{DATA}/scripts/shell": b"#!/bin/sh\n",
        f"{DATA}/scripts/env": b"#!/usr/bin/env python\n",
        f"{DATA}/scripts/binary": b"\x7fELF" + bytes(range(256)) * 9_000,
        f"{DATA}/scripts/nothing": b"",
        f"{DATA}/scripts/bare": b"#!python",
        f"{DATA}/scripts/versioned": b"#!python3.9\nprint(1)\n",
        f"{DATA}/scripts/mac": b"#!python\rprint(1)\r",
        f"{DATA}/scripts/nearly": b"#! python\n",
        f"{DATA}/scripts/call": b"#!python\nold\n",
        f"{DATA}/scripts/call-script.py": b"#!python\nold\n",
        f"{INFO}/entry_points.txt": b"[console_scripts]\ncall = odd.cli:main\n"
        b"deep=odd.cli : Main.run\nextra = odd:x [fast, slow]\nUPPER.Case-x_1 = odd:y\n"
        b"[gui_scripts]\nwindowed = odd:gui\n[odd.plugins]\na = b\n",
        f"{INFO}/licenses/LICENSE": b"text",
    }
    modes = {
        "odd/tool": 0o100755, "odd/write_only": 0o100200, "odd/windows.py": 0o100744,
        "odd/__init__.py": 0o644, f"{DATA}/scripts/shell": 0o100600, f"{DATA}/data/share/run": 0o100711,
    }  # fmt: skip
    return write_wheel(folder / "odd-1.0-py3-none-any.whl", files, modes=modes)


def stored_wheel(folder: Path) -> Path:
    files = {
        "kept/a.so": b"\x7fELF",
        "kept-2.data/data/share/jupyter/y": b"",
        "kept-2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: kept\nVersion: 2\n",
        "kept-2.dist-info/WHEEL": WHEEL.replace(b"true", b"false"),
    }
    wheel = folder / "kept-2-py3-none-any.whl"
    return write_wheel(wheel, files, compression=zipfile.ZIP_STORED, algorithm="sha512")


def test_odd_wheels(desk_root: Root, python: str, tmp_path: Path) -> None:
    wheels = [odd_wheel(tmp_path), stored_wheel(tmp_path)]

    ours = installed_by_hotdesk(wheels, Store(tmp_path / "store"), python)
    theirs = installed_by_uv(wheels, tmp_path / "uv", desk_root.system, python)

    assert "bin/windowed" in theirs
    assert not differences(ours, theirs), "\n".join(differences(ours, theirs))


def test_the_term1_desk(desk_root: Root, python: str, tmp_path: Path, term1_wheels: list[Path]) -> None:
    ours = installed_by_hotdesk(term1_wheels, Store(tmp_path / "store"), python)
    theirs = installed_by_uv(term1_wheels, tmp_path / "uv", desk_root.system, python)

    assert len(theirs) > 30_000
    assert differences(ours, theirs) == []
