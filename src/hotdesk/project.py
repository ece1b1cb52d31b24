"""A project: a folder with its spec and lock, or a template opened on a folder."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.errors import LockStaleError, UsageError
from hotdesk.lock import LOCK_NAME, Lock, LockedVariant, read_lock
from hotdesk.portable.machine import machine
from hotdesk.spec import SPEC_NAME, Spec, explain_stale, read_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEMPLATES = Path(__file__).parent / "templates"
_PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}


@dataclass(frozen=True, slots=True)
class Project:
    """`folder` is what the desk shows at ~/work; `home` is where the spec and the lock lie."""

    folder: Path
    home: Path
    spec: Spec

    @property
    def spec_path(self) -> Path:
        return self.home / SPEC_NAME

    @property
    def lock_path(self) -> Path:
        return self.home / LOCK_NAME

    def read_fresh_lock(self) -> Lock:
        """The lock; `LockStaleError` saying what changed where it does not match the spec."""
        lock = read_lock(self.lock_path)
        changed = explain_stale(lock, self.spec)
        if changed is not None:
            raise LockStaleError(
                f"`{LOCK_NAME}` does not match `{SPEC_NAME}`", why=changed, hint="run `hotdesk lock`"
            )
        return lock

    def select(self, variant: str | None, platform: str | None = None) -> LockedVariant:
        """`variant`, or the first of the spec, for `platform` or this host."""
        lock = self.read_fresh_lock()
        locked = lock.select(platform or host_platform(), variant or next(iter(self.spec.variants)))
        return replace(locked, source=self.spec.base_reference)


def host_platform() -> str:
    """The host as the OCI specification names it, such as `linux/amd64`."""
    found = machine()
    return _PLATFORMS.get(found, f"linux/{found}")


def find_project(start: Path) -> Project:
    """The project whose spec is in `start` or in the nearest folder above it."""
    for folder in (start, *start.parents):
        if (folder / SPEC_NAME).is_file():
            return Project(folder, folder, read_spec(folder / SPEC_NAME))
    raise UsageError(
        f"there is no `{SPEC_NAME}` in {start} or above it",
        hint="`hotdesk init` writes one; `hotdesk up TEMPLATE` needs none: see `hotdesk templates`",
    )


def open_project(what: str | None, current: Path) -> Project:
    """The project that `hotdesk up WHAT` means: a folder with a spec, else a template, else the one here."""
    if what is None:
        return find_project(current)
    folder = Path(current, what).resolve()
    if (folder / SPEC_NAME).is_file():
        return Project(folder, folder, read_spec(folder / SPEC_NAME))
    if what in template_names():
        return Project(current, _TEMPLATES / what, read_spec(_TEMPLATES / what / SPEC_NAME))
    if folder.is_dir():
        raise UsageError(f"there is no `{SPEC_NAME}` in {folder}", hint="`hotdesk init` there writes one")
    raise _unknown_template(what, "neither a folder nor a template")


def template_names() -> Sequence[str]:
    """The desks that ship with hotdesk."""
    return sorted(path.parent.name for path in _TEMPLATES.glob(f"*/{SPEC_NAME}"))


def read_template(name: str) -> Project:
    """The template `name`; its `folder` is the template's own."""
    if name not in template_names():
        raise _unknown_template(name, "no template of hotdesk's")
    home = _TEMPLATES / name
    return Project(home, home, read_spec(home / SPEC_NAME))


def template_projects(name: str) -> Path:
    """The worked projects that come with the template; `UsageError` where there are none."""
    folder = read_template(name).home / "projects"
    if not folder.is_dir():
        have = [other for other in template_names() if (_TEMPLATES / other / "projects").is_dir()]
        raise UsageError(
            f"the template `{name}` comes without projects",
            hint=f"leave --with-projects away; {', '.join(f'`{other}`' for other in have)} has some",
        )
    return folder


def _unknown_template(name: str, why: str) -> UsageError:
    close = difflib.get_close_matches(name, template_names(), 1)
    meant = f"did you mean `{close[0]}`? " if close else ""
    return UsageError(f"`{name}` is {why}", hint=f"{meant}`hotdesk templates` lists what there is")
