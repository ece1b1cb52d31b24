"""Packages without a usable wheel: found, built and locked, all inside the sandbox.

To learn what an sdist needs, its own code may have to run; so uv itself is started in the sandbox, on the
desk's base system. This is the one step of hotdesk in which a package's code has network.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from uv import find_uv_bin

from hotdesk.build.sdist import (
    Workshop,
    build_environment,
    build_requirements,
    build_wheel,
    more_build_requirements,
    sha256_of,
    system_options,
)
from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.engines.seccomp import protect_host
from hotdesk.errors import BuildRequiredError
from hotdesk.fetch import Fetcher, remember
from hotdesk.keys import built_key
from hotdesk.lock import Artifact, Build
from hotdesk.resolve.pypi import best_offer, lock_offers
from hotdesk.resolve.uv import Choice, NoSolution, Offer, Question, Uv, ask, with_find_links
from hotdesk.resolve.wheels import Target, wheel_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hotdesk.lock import PythonPackage
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_PASSED = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "UV_INDEX_STRATEGY", "UV_INSECURE_HOST",
     "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_HTTP_TIMEOUT", "SSL_CERT_DIR"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Built:
    artifact: Artifact
    place: str
    build: Build
    folder: Path


class SdistBuilder:
    """Builds for the host's own platform, on the base system that `base_system` gives when it is needed.

    What is already locked (`kept`) is built again first, so that its choice of build requirements stays.
    """

    def __init__(
        self,
        target: Target,
        uv: Uv,
        store: Store,
        base_system: Callable[[], tuple[Path, str]],
        *,
        kept: Sequence[PythonPackage] = (),
        offline: bool = False,
        progress: Progress,
    ) -> None:
        self._target = target
        self._uv = uv
        self._store = store
        self._base_system = base_system
        self._kept = {(package.name, package.version): package for package in kept}
        self._offline = offline
        self._progress = progress
        self._built: dict[str, _Built] = {}
        self._names: set[str] = set()
        self._lock = threading.RLock()

    def folders(self) -> list[str]:
        """Where the wheels built so far are."""
        return sorted({os.fspath(one.folder) for one in self._built.values()})

    def origin(self, file: str) -> tuple[Artifact, str, Build] | None:
        """The sdist that the wheel `file` was built from, its URL, and how it was built."""
        one = self._built.get(file)
        return (one.artifact, one.place, one.build) if one else None

    def build(self, question: Question, names: Sequence[str], target: Target) -> NoSolution | None:
        """Make wheels for `names`, as `question` needs them; says why there is still no solution."""
        with self._lock:
            self._names.update(names)
            while True:
                answer = self._ask_inside(replace(question, from_source=sorted(self._names)), target)
                if isinstance(answer, list):
                    return self._build_all(answer, target)
                if not set(answer.without_wheels) - self._names:
                    return answer
                self._names.update(answer.without_wheels)

    def _build_all(self, choices: list[Choice], target: Target) -> NoSolution | None:
        for choice in choices:
            if choice.name not in self._names or choice.sdist is None:
                continue
            built = self._build_one(choice, choice.sdist)
            self._built[built.build.wheel] = built
            foreign = target != self._target
            fits = all(file.endswith("-none-any.whl") for file in _files(built)) or not foreign
            if not fits or not wheel_rank(built.build.wheel, target):
                return NoSolution(
                    f"{choice.name} {choice.version} has no wheel for {target.platform}, and is built on a"
                    " machine of that platform only"
                )
        return None

    def _build_one(self, choice: Choice, sdist_offer: Offer) -> _Built:
        artifact = lock_offers([(choice.name, sdist_offer)])[0]
        remember(self._store, artifact, sdist_offer.url)
        self._fetch([artifact])
        system, base_key = self._base_system()
        label = f"Python {self._target.python} on {self._target.platform}"
        workshop = Workshop(system, label)
        sdist = self._store.download(artifact.sha256)
        before = self._kept.get((choice.name, choice.version))
        with self._progress.task(f"building {choice.name} {choice.version}", 1) as task:
            if before and before.build and before.artifact.sha256 == artifact.sha256:
                requires = before.build.requires
                self._fetch(requires)
            else:
                requires = self._requirements(workshop, sdist, artifact.name)
            folder = self._wheel(workshop, artifact, requires, base_key)
            task.advance(1)
        (wheel,) = folder.iterdir()
        build = Build(requires, wheel.name, sha256_of(wheel))
        return _Built(artifact, sdist_offer.url, build, folder)

    def _wheel(
        self, workshop: Workshop, artifact: Artifact, requires: tuple[Artifact, ...], base_key: str
    ) -> Path:
        """Built twice at once: what differs from run to run cannot be locked."""
        sdist = self._store.download(artifact.sha256)
        wheels = {item.name: self._store.download(item.sha256) for item in requires}

        def fill(item: Path) -> None:
            with ExitStack() as stack, ThreadPoolExecutor(max_workers=2) as pool:
                folders = [stack.enter_context(self._store.scratch()) for _ in range(2)]
                first, second = pool.map(
                    lambda folder: build_wheel(workshop, sdist, artifact.name, wheels, folder), folders
                )
                if sha256_of(first) != sha256_of(second):
                    raise BuildRequiredError(
                        f"`{artifact.name}` has no wheel, and building it gives another one each time",
                        why="a lock could not promise what is on the desk",
                        hint="choose a version that has wheels, or put a wheel of it on an index of your own",
                    )
                shutil.copyfile(first, item / first.name)

        key = built_key(artifact.sha256, [item.sha256 for item in requires], base_key)
        return self._store.make("built", key, fill)

    def _requirements(self, workshop: Workshop, sdist: Path, name: str) -> tuple[Artifact, ...]:
        with self._store.scratch() as folder:
            declared = build_requirements(workshop, sdist, name, folder)
            locked = self._lock_requirements(declared, name)
            wheels = {item.name: self._store.download(item.sha256) for item in locked}
            more = more_build_requirements(workshop, sdist, name, wheels, folder)
        if more:
            locked = self._lock_requirements([*declared, *more], name)
        return locked

    def _lock_requirements(self, requirements: Sequence[str], name: str) -> tuple[Artifact, ...]:
        answer = self._uv.compile(Question(requirements, offline=self._offline), self._target)
        if isinstance(answer, NoSolution):
            raise BuildRequiredError(
                f"`{name}` has no wheel, and what its build requires cannot be had",
                why=answer.explanation,
                hint="choose a version that has wheels",
            )
        offers = [(choice.name, best_offer(choice, self._target)) for choice in answer]
        locked = lock_offers(offers)
        for artifact, (_, offer) in zip(locked, offers, strict=True):
            remember(self._store, artifact, offer.url)
        self._fetch(locked)
        return tuple(sorted(locked, key=lambda artifact: artifact.file))

    def _fetch(self, artifacts: Sequence[Artifact]) -> None:
        with Fetcher(self._store, offline=self._offline, progress=self._progress) as fetcher:
            for _ in fetcher.fetch(artifacts):
                pass

    def _ask_inside(self, question: Question, target: Target) -> list[Choice] | NoSolution:
        system, _ = self._base_system()
        with self._store.scratch() as scratch:
            (scratch / "cache").mkdir()
            environment, mounts = _network_settings(self._uv.environment)
            no_index = [] if "UV_DEFAULT_INDEX" in environment else ["--no-index"]
            environment = with_find_links(environment, question.find_links)
            mounts += [os.fspath(folder) for folder in question.find_links]

            def run(arguments: Sequence[str], folder: Path) -> tuple[int, bytes]:
                options = [*system_options(system), "--unshare-all", "--share-net"]
                options += ["--uid", "1000", "--gid", "1000", "--ro-bind", find_uv_bin(), "/run/uv"]
                options += [
                    "--bind",
                    os.fspath(scratch),
                    "/build",
                    "--bind",
                    os.fspath(folder),
                    "/run/question",
                ]
                for mount in dict.fromkeys(mounts):
                    options += ["--ro-bind-try", mount, mount]
                if bundle := environment.get("SSL_CERT_FILE"):
                    options += ["--ro-bind", os.fspath(Path(bundle).resolve()), "/run/authorities.pem"]
                done = run_bwrap(
                    [*options, *_name_resolution(), "--chdir", "/run/question"],
                    ["/run/uv", *arguments, *no_index, "--no-config", "--cache-dir", "/build/cache"],
                    seccomp=protect_host(),
                    environment={
                        **build_environment(),
                        **environment,
                        **({"SSL_CERT_FILE": "/run/authorities.pem"} if bundle else {}),
                    },
                )
                return done.returncode, done.stdout

            return ask(question, target, run, python="/usr/bin/python3")


def _files(built: _Built) -> list[str]:
    return [built.build.wheel, *(item.file for item in built.build.requires)]


def _network_settings(environment: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The user's indexes, proxies and authorities for uv inside, and the folders that it must see."""
    from hotdesk.indexes.http import certificate_file
    from hotdesk.indexes.pypi import index_urls

    passed = {name: value for name, value in environment.items() if name.upper() in _PASSED}
    indexes = index_urls()
    simple = [index.url for index in indexes if index.kind == "simple"]
    flat = [index.url for index in indexes if index.kind == "flat"]
    if simple:
        passed["UV_DEFAULT_INDEX"] = simple[-1]
        passed["UV_INDEX"] = " ".join(simple[:-1])
    if flat:
        passed["UV_FIND_LINKS"] = ",".join(flat)
    if named := certificate_file():
        passed["SSL_CERT_FILE"] = named[1]
    folders = [url2pathname(urlsplit(url).path) for url in flat if url.startswith("file:")]
    for url in simple:
        if url.startswith("file:"):
            folders += _folders_of_index(Path(url2pathname(urlsplit(url).path)))
    return passed, folders


def _folders_of_index(index: Path) -> list[str]:
    """The folder of an index's pages, and those of the files that they lead to: nothing else is shown."""
    folders = {os.fspath(index)}
    for page in index.glob("*/index.html"):
        for link in re.findall(r"""href\s*=\s*["']([^"'#?]+)""", page.read_text(encoding="utf-8")):
            target = url2pathname(urlsplit(urljoin(page.as_uri(), link)).path)
            folders.add(os.path.dirname(target))
    return sorted(folders)


def _name_resolution() -> list[str]:
    options = []
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        if Path(path).exists():
            options += ["--ro-bind-try", os.fspath(Path(path).resolve()), path]
    return options
