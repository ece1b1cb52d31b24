"""What a user needs to know where a registry does not do what it was asked."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hotdesk.errors import FetchError, GoneError, HashMismatchError, RegistryError, UnsafeImageError
from hotdesk.indexes import http
from hotdesk.oci.registry.session import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.oci.registry.session import Session

_AGAIN = "run the command again in a while: what has arrived is kept"


@contextmanager
def explained(session: Session, what: str) -> Iterator[None]:
    """Turns what goes wrong with requests into a `RegistryError` that begins with `what`."""
    import httpx2

    try:
        yield
    except HashMismatchError as error:
        raise UnsafeImageError(
            what, why=f"the registry sent something else than it has a digest for: {error.why}"
        ) from None
    except GoneError:
        raise UnsafeImageError(
            what,
            why="the registry has not all the layers that its manifest names",
            hint="push the image again, or ask whoever runs the registry",
        ) from None
    except FetchError as error:
        raise _explain(session, what, error.__cause__ or error) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, http.StatusError, http.CutShortError) as error:
        raise _explain(session, what, error) from error


def _explain(session: Session, what: str, error: BaseException) -> RegistryError:
    import ssl

    import httpx2

    registry = session.reference.registry
    if isinstance(error, http.StatusError):
        return _explain_status(session, what, error)
    if isinstance(error, FetchError):
        return RegistryError(what, why=error.why or error.what, hint=_AGAIN)
    if not isinstance(error, httpx2.HTTPError):
        return RegistryError(what, why=str(error), hint=_AGAIN)
    found = http.explain(error, session.url(""))
    hint = f"check the network connection and the name of the registry; {_AGAIN}"
    if http.cause(error, ssl.SSLCertVerificationError):
        hint = (
            f"put the authority that signed it into `certs.d/{registry}/ca.crt` below ~/.config/containers "
            "or ~/.docker, or let `SSL_CERT_FILE` name it"
        )
    elif isinstance(error, httpx2.ProxyError):
        hint = found.hint
    elif isinstance(error, (httpx2.ReadTimeout, httpx2.WriteTimeout)):
        return RegistryError(what, why=f"{registry} stopped answering", hint=hint)
    return RegistryError(what, why=found.why, hint=hint)


def _explain_status(session: Session, what: str, error: http.StatusError) -> RegistryError:
    registry = session.reference.registry
    said = error.detail if isinstance(error, RefusedError) and error.detail else ""
    why = f"{http.shown(error.url)} answers {error.status}" + (f": {said}" if said else "")
    match error.status:
        case 401 | 403:
            why = f"{why}; {session.authority.why_denied(registry)}"
            hint = f"`docker login {registry}` or `podman login {registry}`, with an account that may do this"
        case 404:
            hint = "check the reference: its registry, repository and tag"
        case 413:
            hint = "the registry, or a proxy before it, takes nothing of that size: ask whoever runs it"
        case 429:
            hint = "the registry has had too many requests: wait some minutes and run the command again"
        case status if status >= 500:
            hint = f"the registry is in trouble: {_AGAIN}"
        case _:
            hint = "ask whoever runs the registry"
    return RegistryError(what, why=why, hint=hint)
