"""hotdesk chooses the packages and versions that apt chooses, from the very same indexes."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import ResolveError
from hotdesk.indexes.debian import debian_archives
from hotdesk.indexes.debian_release import fetch_indexes
from hotdesk.resolve.debian import resolve
from hotdesk.resolve.debian_universe import Universe
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from hotdesk.indexes.debian_release import PackagesFile

Choice = dict[str, str] | None
pytestmark = pytest.mark.integration

TRIXIE = [
    "python3",
    "git",
    "build-essential",
    "ffmpeg",
    "graphviz",
    "libgl1 libglib2.0-0t64",
    "default-jre-headless",
    "texlive-latex-base",
    "r-base-core",
    "gdb",
    "cmake",
    "vim",
    "curl wget",
    "emacs-nox",
    "imagemagick",
    "pandoc",
    "clang",
    "gnuplot-nox",
    "openssh-server",
    "dbus-user-session",
    "mailutils",  # default-mta | mail-transport-agent
    "mutt postfix",  # the same, with one that was asked for
    "gawk",  # another awk beside the essential one
    "apache2 libapache2-mod-php",
    "gfortran libopenblas-dev liblapack-dev",
    "sysvinit-core",
    "python3-tk python3-pil python3-scipy",
    "unzip git curl ffmpeg graphviz libgl1 build-essential",
]
BOOKWORM = [
    "python3",
    "ffmpeg",
    "default-jre",
    "r-base",
    "mailutils",
]
REFUSED = [
    "awk",  # provided by several
    "mail-transport-agent",
    "python3=0.1",
    "no-such-package-at-all",
    "postfix exim4-daemon-light",  # each conflicts with the other
]


@dataclass(frozen=True)
class Apt:
    """apt on an empty system of its own, which reads the indexes that hotdesk has verified."""

    folder: Path
    architecture: str

    @classmethod
    def prepare(cls, folder: Path, architecture: str, files: tuple[PackagesFile, ...]) -> Apt:
        for name in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        lines = []
        for file in files:
            suite = folder / "mirror" / "dists" / file.suite
            packages = suite / "main" / f"binary-{architecture}" / "Packages"
            packages.parent.mkdir(parents=True)
            shutil.copyfile(file.path, packages)
            content = packages.read_bytes()
            (suite / "Release").write_text(
                f"Suite: {file.suite}\nCodename: {file.suite}\nArchitectures: {architecture}\n"
                f"Components: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
                f" {hashlib.sha256(content).hexdigest()} {len(content)} {packages.relative_to(suite)}\n"
            )
            lines.append(f"deb [trusted=yes] file:{folder}/mirror {file.suite} main\n")
        (folder / "etc" / "sources.list").write_text("".join(lines))
        apt = cls(folder, architecture)
        apt.configure()
        for command in (("apt-get", "update"), ("apt-cache", "gencaches")):
            done = apt.run(*command)
            assert done.returncode == 0, done.stderr
        return apt

    def configure(self) -> None:
        (self.folder / "apt.conf").write_text(
            f'APT::Architecture "{self.architecture}";\n'
            f'APT::Architectures {{ "{self.architecture}"; }};\n'
            f'Dir::State "{self.folder}/state";\n'
            f'Dir::State::status "{self.folder}/status";\n'
            f'Dir::Cache "{self.folder}/cache";\n'
            f'Dir::Etc "{self.folder}/etc";\n'
            'APT::Solver "internal";\n'  # the rules that hotdesk follows; apt 3 has others beside them
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
            'Debug::NoLocking "true";\n'
        )

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "APT_CONFIG": str(self.folder / "apt.conf")}
        command = [program, "-q", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    def choose(self, names: list[str]) -> Choice:
        done = self.run("apt-get", "--simulate", "--no-install-recommends", "install", *names)
        if done.returncode:
            return None
        return dict(re.findall(r"^Inst (\S+) \((\S+) ", done.stdout, re.MULTILINE))


@dataclass(frozen=True)
class Release:
    """What each of the two chooses for a request; None where it refuses."""

    universe: Universe
    apt: dict[str, Choice]

    def hotdesk(self, request: str) -> Choice:
        try:
            return {package.name: package.version for package in resolve(self.universe, request.split())}
        except ResolveError:
            return None


def compare(release: str, folder: Path, requests: list[str]) -> Release:
    if not shutil.which("apt-get"):
        pytest.skip("this host has no apt to compare with")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
    if architecture is None:
        pytest.skip("hotdesk builds no base for this host's architecture")
    indexes = fetch_indexes(release, architecture, debian_archives(), Store(folder / "store"))
    universe = Universe(indexes.packages)
    apt = Apt.prepare(folder / "apt", architecture, indexes.packages)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        answers = pool.map(
            lambda request: apt.choose([*universe.essential(), *sorted(request.split())]), requests
        )
        return Release(universe, dict(zip(requests, answers, strict=True)))


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return compare("trixie", tmp_path_factory.mktemp("trixie"), TRIXIE + REFUSED)


@pytest.fixture(scope="module")
def bookworm(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return compare("bookworm", tmp_path_factory.mktemp("bookworm"), BOOKWORM)


@pytest.mark.parametrize("names", TRIXIE)
def test_trixie_is_chosen_as_apt_chooses(trixie: Release, names: str) -> None:
    assert trixie.hotdesk(names) == trixie.apt[names]


@pytest.mark.parametrize("names", BOOKWORM)
def test_bookworm_is_chosen_as_apt_chooses(bookworm: Release, names: str) -> None:
    assert bookworm.hotdesk(names) == bookworm.apt[names]


def test_apt_could_answer_nearly_every_request(trixie: Release, bookworm: Release) -> None:
    possible = [choice for release in (trixie, bookworm) for choice in release.apt.values() if choice]

    assert len(possible) >= 30


@pytest.mark.parametrize("names", REFUSED)
def test_what_apt_refuses_is_refused(trixie: Release, names: str) -> None:
    assert trixie.apt[names] is None
    assert trixie.hotdesk(names) is None


def test_every_entry_of_the_indexes_can_be_read(trixie: Release) -> None:
    universe = trixie.universe

    assert all(universe.versions(name) for name in universe.names)
