"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

offline_option: Callable[[Any], Any] = click.option(
    "--offline", is_flag=True, help="Promise to use no network: fail where something is not in the store."
)
variant_option: Callable[[Any], Any] = click.option(
    "--variant", help="Which variant of the spec; its first by default."
)
