"""Both desks of the course hold in Docker what their specs promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.integration.test_projects import CHECKED, check
from tests.support.commandline import Hotdesk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.container_engines import Engine

pytestmark = pytest.mark.integration


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("template", ["sdcnd-term1", "sdcnd-term1-classic"])
def test_a_desk_holds_in_docker_what_its_spec_promises(
    template: str, term1: Hotdesk, docker: Engine, tmp_path: Path
) -> None:
    hotdesk = Hotdesk(tmp_path, term1.store, tmp_path / "data", docker.environment)
    today = template == "sdcnd-term1"
    hotdesk.run("init", template, *(["--with-projects"] if today else []))

    check(hotdesk, CHECKED if today else [], "--engine", "docker")
