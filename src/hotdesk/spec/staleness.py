"""Whether a lock was made for a spec as it is now."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.lock import Lock
    from hotdesk.spec.spec import Spec


def explain_stale(lock: Lock, spec: Spec) -> str | None:
    """What changed in the spec since the lock was made; None where the lock is fresh."""
    old, new = lock.inputs, spec.inputs()
    if old == new:
        return None
    changes = [
        f"`{key}` was changed from `{before}` to `{after}`"
        for key, before, after in (("python", old.python, new.python), ("base", old.base, new.base))
        if before != after
    ]
    changes += _list_changes("[desk] platforms", old.platforms, new.platforms)
    changes += _list_changes("[packages] pypi", old.pypi, new.pypi)
    changes += _list_changes("[packages] debian", old.debian, new.debian)
    for name in sorted({*old.variants, *new.variants}):
        if name not in new.variants or name not in old.variants:
            what = "added" if name in new.variants else "removed"
            changes.append(f"the variant `{name}` was {what}")
            continue
        for number, key in enumerate(("pypi", "debian")):
            where = f"[variants.{name}] {key}"
            changes += _list_changes(where, old.variants[name][number], new.variants[name][number])
    return "; ".join(changes) or "the same is there in another order"


def _list_changes(where: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    def package(text: str) -> str:
        return re.split(r"[\[<>=!~;]", text, maxsplit=1)[0]

    gone = {package(text): text for text in old if text not in new}
    for text in (text for text in new if text not in old):
        before = gone.pop(package(text), None)
        if before:
            yield f"`{before}` was changed to `{text}` in `{where}`"
        else:
            yield f"`{text}` was added to `{where}`"
    for text in gone.values():
        yield f"`{text}` was removed from `{where}`"
