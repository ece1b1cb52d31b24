"""How the tests are shared out, where `pytest -n 2 --dist loadscope` runs them in two processes.

A file's tests stay together, with what they have in common. All that starts a container engine stays in one
process: two engines at once would take the host's one bridge from each other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

# What takes longest begins first, so that nobody waits for it at the end.
_FIRST = ("test_robustness", "test_container_desks")
_CONTAINERS = {
    "test_base_image",
    "test_builders",
    "test_by_hand",
    "test_checked_in_docker",
    "test_container_desks",
    "test_containers",
    "test_display",
    "test_image",
    "test_layout",
    "test_loading",
    "test_registry",
    "test_rootless",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _turn(item.path))


def _turn(file: Path) -> int:
    return _FIRST.index(file.stem) if file.stem in _FIRST else len(_FIRST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "containers" if Path(file).stem in _CONTAINERS else file

    return ByFile(config, log)
