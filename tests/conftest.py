"""How the tests are shared out, where `pytest -n 2 --dist loadgroup` runs them in two processes.

A file's tests stay together, with what they have in common. All that starts a container engine stays in one
process: two engines at once would take the host's one bridge from each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# What takes longest begins first, so that nobody waits for it at the end.
_FIRST = ("test_robustness", "test_container_desks")
_CONTAINERS = {
    "test_base_image",
    "test_container_desks",
    "test_containers",
    "test_image",
    "test_layout",
    "test_loading",
    "test_registry",
    "test_rootless",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _turn(item.path))
    for item in items:
        file = item.path
        item.add_marker(pytest.mark.xdist_group("containers" if file.stem in _CONTAINERS else str(file)))


def _turn(file: Path) -> int:
    return _FIRST.index(file.stem) if file.stem in _FIRST else len(_FIRST)
