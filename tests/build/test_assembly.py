from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import write_wheel

from hotdesk.build.assembly import Assembly, starts_alone
from hotdesk.fetch import Fetcher
from hotdesk.keys import Keys
from hotdesk.layers.wheels import make_wheel_tree
from hotdesk.lock import Artifact, LockedVariant, PythonPackage
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITE = "lib/python3.13/site-packages"


class TestStartsAlone:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Path:
        folder = tmp_path / "etc" / "jupyter" / "jupyter_server_config.d"
        folder.mkdir(parents=True)
        own = {"ServerApp": {"jpserver_extensions": {"jupyterlab": True}}}
        (folder / "jupyterlab.json").write_text(json.dumps(own))
        return folder

    @pytest.mark.usefixtures("settings")
    def test_with_its_own_extensions_it_does(self, tmp_path: Path) -> None:
        page = tmp_path / "etc" / "jupyter" / "nbconfig" / "notebook.d"
        page.mkdir(parents=True)
        (page / "widgets.json").write_text('{"load_extensions": {"widgets/extension": true}}')

        assert starts_alone(tmp_path)

    @pytest.mark.parametrize(
        "text",
        [
            '{"ServerApp": {"jpserver_extensions": {"jupyterlab": true, "panel.io.jupyter": true}}}',
            '{"NotebookApp": {"nbserver_extensions": {"jupyter_server_proxy": true}}}',
            '{"ServerApp": {"contents_manager_class": "odd.Manager"}}',
            '{"ServerApp": true}',
            "c.ServerApp.port = 1",
            "[" * 100_000,
        ],
        ids=lambda text: text[:40],
    )
    def test_with_any_other_setting_it_may_import_anything(
        self, settings: Path, tmp_path: Path, text: str
    ) -> None:
        (settings / "other.json").write_text(text)

        assert not starts_alone(tmp_path)


def artifact(name: str, sha256: str, path: Path) -> Artifact:
    return Artifact("pypi", name, path.name, path.stat().st_size, sha256)


def test_what_another_process_makes_meanwhile_is_linked_as_well(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    names = ("first", "second")
    wheels = {}
    for name in names:
        path = write_wheel(tmp_path / f"{name}-1-py3-none-any.whl", {f"{name}.py": b""})
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        wheels[sha256] = path
    locked = LockedVariant(
        variant="default",
        platform="linux/amd64",
        python="3.13",
        base="debian:trixie",
        snapshot="20260101T000000Z",
        debian=(),
        pypi=tuple(
            PythonPackage(name, "1", artifact(name, sha256, path), ("default",), 0)
            for name, (sha256, path) in zip(names, wheels.items(), strict=True)
        ),
    )
    store.make("system", Keys.of(locked).system, lambda item: (item / "tree").mkdir())

    (store.root / "downloads").mkdir()
    for sha256, path in wheels.items():
        store.download(sha256).write_bytes(path.read_bytes())

    class Crowded(Assembly):
        """Another process makes all wheels after this one has looked which there are."""

        def _missing(self, there: set[Path]) -> Iterator[Artifact]:
            for sha256, path in wheels.items():
                make_wheel_tree(store, path, sha256, "3.13")
            return super()._missing(there)

    with Fetcher(store, offline=True) as fetcher:
        Crowded(store, locked, fetcher).make()

    tree = store.item("environment", Keys.of(locked).environment) / "tree"
    assert {path.name for path in (tree / SITE).glob("*.py")} == {"first.py", "second.py"}
