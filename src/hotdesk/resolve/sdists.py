"""Packages without a usable wheel: found, built and locked, all on the desk's base system.

To learn what an sdist needs, its own code may have to run; so uv itself is started there, away from the
host. This is the one step of hotdesk in which a package's code has network.
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

from hotdesk.build.sdist import (
    Workshop,
    build_environment,
    build_requirements,
    build_wheel,
    built_wheel,
    more_build_requirements,
    sha256_of,
    uv_inside,
)
from hotdesk.engines.programs import Program, open_root
from hotdesk.errors import BuildRequiredError, HashMismatchError
from hotdesk.fetch import Fetcher, remember
from hotdesk.indexes.pip import is_set
from hotdesk.keys import built_key
from hotdesk.lock import Artifact, Build
from hotdesk.resolve.pypi import best_offer, lock_offers
from hotdesk.resolve.uv import (
    Choice,
    NoSolution,
    Offer,
    Question,
    Uv,
    access_denied,
    ask,
    index_options,
    with_find_links,
)
from hotdesk.resolve.wheels import Target, wheel_rank
from hotdesk.spec.requirements import BadRequirementError, parse_requirement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hotdesk.lock import PythonPackage
    from hotdesk.progress import Progress
    from hotdesk.store import Store

# Neither the user's name nor what leads to their keys: a package's own code reads these.
_PASSED = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "UV_INDEX_STRATEGY", "UV_INSECURE_HOST",
     "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES",
     "UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Built:
    name: str
    artifact: Artifact
    place: str
    build: Build
    folder: Path


class SdistBuilder:
    """Builds for the host's own platform, on the base system that `base_system` gives for a variant.

    What is already locked (`kept`) is built again first, so that its choice of build requirements stays.
    Another platform gets those of the wheels that fit it too. It waits for them until `finished`; and only
    where `insisted` are more made for it, in the hope that they do.
    """

    def __init__(
        self,
        target: Target,
        uv: Uv,
        store: Store,
        base_system: Callable[[str], tuple[Path, str]],
        *,
        kept: Sequence[PythonPackage] = (),
        insisted: bool = True,
        progress: Progress,
    ) -> None:
        self._target = target
        self._uv = uv
        self._store = store
        self._base_system = base_system
        self._kept = {(package.name, package.version): package for package in kept}
        self._insisted = insisted
        self._progress = progress
        self._built: Mapping[str, _Built] = {}  # replaced, never changed: other threads read it
        self._names: set[str] = set()
        self._lock = threading.RLock()
        self._own_finished = threading.Event()

    def finished(self) -> None:
        """The host's own platform has its packages."""
        self._own_finished.set()

    def folders(self, target: Target) -> list[str]:
        """Where the wheels built so far are that may be locked for `target`."""
        return sorted({os.fspath(one.folder) for one in self._built.values() if self._fits(one, target)})

    def origin(self, file: str, target: Target) -> tuple[Artifact, str, Build] | None:
        """The sdist that the wheel `file` was built from, its URL, and how it was built."""
        one = self._built.get(file)
        return (one.artifact, one.place, one.build) if one and self._fits(one, target) else None

    def _fits(self, built: _Built, target: Target) -> bool:
        """A lock for another platform can hold what works, and can be built, on any."""
        if target != self._target and not all(file.endswith("-none-any.whl") for file in _files(built)):
            return False
        return wheel_rank(built.build.wheel, target) is not None

    def build(
        self, question: Question, names: Sequence[str], target: Target, variant: str
    ) -> NoSolution | None:
        """Make wheels for `names`, as `question` of `variant` needs them; why there is still no solution."""
        if target != self._target:
            self._own_finished.wait()
            if any(built.name in names and self._fits(built, target) for built in self._built.values()):
                return None
            if not self._insisted:
                return _for_machines_of(target, " and ".join(names), names)
        with self._lock:
            self._names.update(names)
            while True:
                answer = self._ask_inside(replace(question, from_source=sorted(self._names)), target, variant)
                if isinstance(answer, list):
                    return self._build_all(answer, target, variant)
                if not set(answer.without_wheels) - self._names:
                    return answer
                self._names.update(answer.without_wheels)

    def _build_all(self, choices: list[Choice], target: Target, variant: str) -> NoSolution | None:
        for choice in choices:
            if choice.name not in self._names or choice.sdist is None:
                continue
            built = self._build_one(choice, choice.sdist, variant)
            self._built = {**self._built, built.build.wheel: built}
            if not self._fits(built, target):
                return _for_machines_of(target, f"{choice.name} {choice.version}", [choice.name])
        return None

    def verify(self, package: PythonPackage, variant: str) -> None:
        """Build a locked package as a desk of `variant` would, on its own base system."""
        assert package.build
        system, base_key = self._base_system(variant)
        self._fetch([package.artifact, *package.build.requires])
        try:
            built_wheel(
                self._store,
                package,
                lambda: Workshop(system, self._label, self._target.interpreter),
                base_key,
            )
        except HashMismatchError:
            raise BuildRequiredError(
                f"`{package.artifact.name}` has no wheel, and on the base system of `{variant}` building it"
                " gives another one",
                why="the variants' Debian packages differ, and the lock can hold one wheel",
                hint="move the Debian packages of that variant to `[packages] debian`, or choose a version"
                " that has wheels",
            ) from None

    @property
    def _label(self) -> str:
        return f"Python {self._target.python} on {self._target.platform}"

    def _build_one(self, choice: Choice, sdist_offer: Offer, variant: str) -> _Built:
        artifact = lock_offers([(choice.name, sdist_offer)])[0]
        remember(self._store, artifact, sdist_offer.url)
        self._fetch([artifact])
        system, base_key = self._base_system(variant)
        workshop = Workshop(system, self._label, self._target.interpreter)
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
        return _Built(choice.name, artifact, sdist_offer.url, build, folder)

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
        plain = plain_requirements(requirements, name)
        answer = self._uv.compile(Question(plain), self._target)
        if isinstance(answer, NoSolution):
            if answer.denied:
                raise access_denied(answer)
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
        with Fetcher(self._store, progress=self._progress) as fetcher:
            for _ in fetcher.fetch(artifacts):
                pass

    def _ask_inside(self, question: Question, target: Target, variant: str) -> list[Choice] | NoSolution:
        system, _ = self._base_system(variant)
        environment = {name: value for name, value in self._uv.environment.items() if name.upper() in _PASSED}
        environment = with_find_links(environment, question.find_links)
        # Two: in the first, the package's own code could put a link in place of the answer's folder.
        with self._store.scratch() as scratch, self._store.scratch() as asked:
            for part in ("cache", "home"):
                (scratch / part).mkdir()
            if trusted := authorities(self._uv.environment):
                (scratch / "authorities.pem").write_bytes(trusted)
                environment["SSL_CERT_FILE"] = "/build/authorities.pem"
            folders = {*local_folders(environment), *question.find_links}
            shown = {folder: Path(folder) for folder in sorted(folders) if os.path.exists(folder)}

            def run(arguments: Sequence[str], folder: Path) -> tuple[int, bytes]:
                command = ["/run/uv", *arguments, *index_options(environment), "--cache-dir", "/build/cache"]
                program = Program(
                    command=tuple(command),
                    environment={**build_environment(), **environment},
                    directory="/run/question",
                    shown={**shown, "/run/uv": uv_inside()},
                    room={"/build": scratch},
                    made={"/run/question": folder},
                )
                with open_root(system, network=True) as inside:
                    ended = inside.run(program)
                return ended.status, ended.said

            return ask(question, target, run, asked, python=target.interpreter)


def plain_requirements(stated: Sequence[str], name: str) -> list[str]:
    """`stated` by the sdist `name`, if each is a requirement: uv, here, would take options and files too."""
    try:
        plain = [parse_requirement(text).text for text in stated]
    except BadRequirementError as error:
        raise _bad_requirements(name, str(error)) from None
    for text in plain:
        if not text.isprintable():
            raise _bad_requirements(name, f"{text!r} is not one line")
    return plain


def _bad_requirements(name: str, why: str) -> BuildRequiredError:
    return BuildRequiredError(
        f"`{name}` has no wheel, and what its build requires cannot be locked",
        why=why,
        hint="choose a version that has wheels",
    )


def _for_machines_of(target: Target, what: str, names: Sequence[str]) -> NoSolution:
    return NoSolution(
        f"{what} has no wheel for {target.platform}, and is built on a machine of that platform only",
        tuple(names),
    )


def _files(built: _Built) -> list[str]:
    return [built.build.wheel, *(item.file for item in built.build.requires)]


def authorities(environment: Mapping[str, str]) -> bytes:
    """The certificates that the user's tools trust, in one: a folder's links would lead nowhere inside."""
    import ssl

    named = environment.get("SSL_CERT_FILE") or environment.get("SSL_CERT_DIR", "")
    if not named and any(is_set(environment.get(name, "")) for name in ("UV_NATIVE_TLS", "UV_SYSTEM_CERTS")):
        found = ssl.get_default_verify_paths()
        named = found.cafile or found.capath or ""
    if not named:
        return b""
    path = Path(named)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    contents = (file.read_bytes() for file in files if file.is_file())
    return b"\n".join(dict.fromkeys(content for content in contents if b"BEGIN CERTIFICATE" in content))


def local_folders(environment: Mapping[str, str]) -> list[str]:
    """The folders that uv must see for the indexes of `environment`: those on this machine's disk."""
    folders: list[str] = []
    for link in filter(None, environment.get("UV_FIND_LINKS", "").split(",")):
        folders += [url2pathname(urlsplit(link).path)] if link.startswith("file:") else []
        folders += [link] if link.startswith("/") else []
    for name in ("UV_INDEX", "UV_DEFAULT_INDEX"):
        for url in environment.get(name, "").split():
            if url.startswith("file:"):
                folders += _folders_of_index(Path(url2pathname(urlsplit(url).path)))
    return list(dict.fromkeys(folders))


def _folders_of_index(index: Path) -> list[str]:
    """The folder of an index's pages, and those of the files that they lead to: nothing else is shown."""
    folders = {os.fspath(index)}
    for page in index.glob("*/index.html"):
        for link in re.findall(
            r"""href\s*=\s*["']([^"'#?]+)""", page.read_text(encoding="utf-8", errors="replace")
        ):
            target = urlsplit(urljoin(page.as_uri(), link))
            if target.scheme == "file" and target.netloc in ("", "localhost"):
                folders.add(os.path.dirname(url2pathname(target.path)))
    return sorted(folders)
