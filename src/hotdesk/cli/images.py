"""Images: build."""

from __future__ import annotations

from pathlib import Path

import click

from hotdesk.cli.options import offline_option, platform_option, variant_option
from hotdesk.cli.output import json_option, print_json
from hotdesk.cli.progress import show_progress


@click.command(
    "build",
    short_help="Build the desk's image, without a container engine.",
    epilog="Example: `hotdesk build -o desk.tar`, then `docker load -i desk.tar` on any machine.",
)
@click.argument("what", metavar="[TEMPLATE or FOLDER]", required=False)
@variant_option
@platform_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write it there: an archive where the name ends in .tar, else an OCI layout folder.",
)
@click.option("--accept", is_flag=True, help="Lock this image where the lock knows another one.")
@offline_option
@json_option
def build_command(
    what: str | None,
    *,
    variant: str | None,
    platform: str | None,
    output: Path | None,
    accept: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Build the desk's OCI image into the store and print its ID.

    The first build writes the ID to the lock; from then on a build that gives another one fails and says
    what differs.
    """
    from hotdesk.opening import Preparation
    from hotdesk.packing import build_project_image, write_project_image
    from hotdesk.project import open_project

    project = open_project(what, Path.cwd())
    with show_progress() as progress:
        preparation = Preparation(offline, progress)
        if output is None:
            image = build_project_image(
                project, preparation, variant=variant, platform=platform, accept=accept
            )
        else:
            image = write_project_image(
                project, preparation, output, variant=variant, platform=platform, accept=accept
            )
    if as_json:
        layers = [
            {"digest": blob.digest, "size": blob.size, "diff_id": layer.diff_id, "holds": layer.history}
            for layer, blob in ((layer, layer.blob.descriptor) for layer in image.layers)
        ]
        manifest = image.manifest.descriptor.digest
        print_json({"id": image.id, "manifest": manifest, "platform": image.platform, "layers": layers})
    else:
        click.echo(image.id)
