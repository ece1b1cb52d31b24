"""A desk's own image, pushed from one store and pulled into another."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.commandline import Hotdesk
from tests.support.registry import DockerRegistry, registry, require

if TYPE_CHECKING:
    pass

__all__ = ["registry"]

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def project(jupyter: Hotdesk, tmp_path_factory: pytest.TempPathFactory) -> Hotdesk:
    folder = tmp_path_factory.mktemp("pushed") / "project"
    shutil.copytree(jupyter.folder, folder)
    return Hotdesk(folder, jupyter.store, jupyter.data)


def test_a_desk_is_pushed_and_pulled(project: Hotdesk, registry: DockerRegistry, tmp_path: Path) -> None:
    require("skopeo")
    reference = f"{registry.host}/team/desk:1"

    pushed = project.json("push", reference, timeout=600)
    again = project.json("push", reference)
    pulled = Hotdesk(project.folder, tmp_path / "store", tmp_path / "data").json("pull", reference)
    seen = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{reference}"], capture_output=True, check=True
    )

    built = project.json("build")
    assert (pushed["id"], pushed["digest"]) == (built["id"], built["manifest"])
    assert pushed["blobs"] == {"there": 0, "mounted": 0, "sent": len(built["layers"]) + 1}
    assert again["bytes"] == 0
    assert pulled["digest"] == pushed["digest"]
    assert pulled["layers"] == {"there": 0, "fetched": len(built["layers"])}
    assert json.loads(seen.stdout)["Layers"] == [layer["digest"] for layer in built["layers"]]
