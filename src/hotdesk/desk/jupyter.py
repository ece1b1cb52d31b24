"""How a desk's Jupyter is started, wherever it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hotdesk.engines.host import port_variables
from hotdesk.engines.request import WORK, Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotdesk.desk.folder import Desk
    from hotdesk.desk.order import DeskOrder

# A desk calls nobody by itself: no question about news, no look for a newer JupyterLab.
_PAGE = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}


def request(
    order: DeskOrder, desk: Desk, address: str, port: int, ports: Mapping[str, int], *further: str
) -> Request:
    """Jupyter with `further` options, listening on this address and port as it sees them.

    The desk's further servers are to listen on that address too, and on `ports`.
    """
    return Request(
        command=(*_command(address, port), *further, *order.jupyter),
        home=desk.home,
        project=order.project,
        hostname=order.name,
        environment={
            "JUPYTER_CONFIG_PATH": "/run/hotdesk/jupyter",
            **port_variables(address, ports),
            **order.environment,
        },
        hidden=order.hidden,
        display=order.display,
        files=_files(desk),
    )


def _command(address: str, port: int) -> tuple[str, ...]:
    return (
        "jupyter",
        "lab",
        "--no-browser",
        f"--ServerApp.ip={address}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={WORK}",
    )


def _files(desk: Desk) -> dict[str, bytes]:
    """Jupyter's settings, by their path below `/run`, with the token.

    It is in no argument list, which everybody may read, and in no environment, which every kernel and
    terminal would inherit.
    """
    settings = {"IdentityProvider": {"token": desk.token}}
    return {
        "hotdesk/jupyter/jupyter_server_config.json": json.dumps(settings).encode(),
        "hotdesk/jupyter/labconfig/page_config.json": json.dumps(_PAGE).encode(),
    }
