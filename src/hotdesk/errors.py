"""Everything that can go wrong, as one tree.

HotdeskError                 what happened, why, what to do; `exit_code` of the command
├── UsageError               the command line asks for something that cannot be (exit code 2)
├── SettingsError            the user's own settings are not understood
├── SpecError                `hotdesk.toml` has problems, all of them in one error
├── LockError                there is no lock, or it cannot be read
│   └── LockStaleError       the lock does not match the spec
├── ResolveError             no set of packages satisfies the spec
│   └── BuildRequiredError   a package has no usable wheel, and its sdist cannot be built
├── IndexConfigurationError  the machine does not say where packages come from
├── FetchError               an artifact cannot be downloaded
│   ├── NotCachedError       offline, and the artifact is not in the store
│   ├── GoneError            no index offers the artifact any more
│   └── HashMismatchError    what was downloaded is not what was locked
├── SignatureError           an index is not signed by a key we know
├── UnsafeArchiveError       an archive would write where it must not, or lies about itself
├── RegistryError            an image cannot be pushed or pulled
│   ├── NoPlatformError      the image is for other platforms
│   └── UnsafeImageError     what a registry offers is no image that hotdesk takes
├── StoreError               the store is corrupt, full or not writable
├── ImageError               an image is not what it claims to be or what was locked, or cannot be used
├── EngineError              the isolation cannot be set up on this host
├── ConfigureError           Debian's own scripts failed in the base system
└── DeskError                a desk cannot be started, found or stopped
"""

from __future__ import annotations


class HotdeskError(Exception):
    """Base of all errors that a user may see.

    The three parts are printed on lines of their own: what happened, `why`, and `hint`, the cure.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"why: {self.why}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders; pickle would call __init__ without the keywords.
        return (_rebuild, (type(self), self.what, self.why, self.hint))


def _rebuild(kind: type[HotdeskError], what: str, why: str, hint: str) -> HotdeskError:
    return kind(what, why=why, hint=hint)


class UsageError(HotdeskError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class SettingsError(HotdeskError):
    """The user's own settings are not understood."""


class SpecError(HotdeskError):
    """`hotdesk.toml` has problems; `what` lists every one with its line."""


class LockError(HotdeskError):
    """There is no lock, or it cannot be read."""


class LockStaleError(LockError):
    """The lock does not match the spec."""


class ResolveError(HotdeskError):
    """No set of packages satisfies the spec."""


class BuildRequiredError(ResolveError):
    """A package has no usable wheel, and its sdist cannot be built."""


class IndexConfigurationError(HotdeskError):
    """The machine does not say where packages come from."""


class FetchError(HotdeskError):
    """An artifact cannot be downloaded."""


class NotCachedError(FetchError):
    """Offline, and the artifact is not in the store."""


class GoneError(FetchError):
    """No index offers the artifact any more."""


class HashMismatchError(FetchError):
    """What was downloaded is not what was locked."""


class SignatureError(HotdeskError):
    """An index is not signed by a key we know."""


class UnsafeArchiveError(HotdeskError):
    """An archive would write where it must not, or lies about itself."""


class RegistryError(HotdeskError):
    """An image cannot be pushed or pulled."""


class NoPlatformError(RegistryError):
    """The image is for other platforms."""


class UnsafeImageError(RegistryError):
    """What a registry offers is no image that hotdesk takes: it lies about itself, or is absurd."""


class StoreError(HotdeskError):
    """The store is corrupt, full or not writable."""


class ImageError(HotdeskError):
    """An image is not what it claims to be, or not what was locked, or it cannot be used."""


class EngineError(HotdeskError):
    """The isolation cannot be set up on this host."""


class ConfigureError(HotdeskError):
    """Debian's own scripts failed in the base system."""


class DeskError(HotdeskError):
    """A desk cannot be started, found or stopped."""
