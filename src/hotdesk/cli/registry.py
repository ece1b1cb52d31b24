"""Images to and from registries: push, pull."""

from __future__ import annotations

from pathlib import Path

import click

from hotdesk.cli.options import platform_option, variant_option
from hotdesk.cli.output import human_bytes, json_option, print_answer
from hotdesk.cli.progress import show_progress


@click.command(
    "push",
    short_help="Push the desk's image to a registry.",
    epilog="Example: `docker login registry.example`, then `hotdesk push registry.example/team/desk:1`.",
)
@click.argument("reference")
@variant_option
@platform_option
@click.option(
    "--join",
    is_flag=True,
    help="Add it to what is at the tag for other platforms, instead of taking its place.",
)
@json_option
def push_command(
    reference: str, *, variant: str | None, platform: str | None, join: bool, as_json: bool
) -> None:
    """Build the desk's image, and push to REFERENCE what of it the registry lacks.

    The logins are those of `docker login` and `podman login`.
    """
    from hotdesk.oci.registry.reference import parse_reference
    from hotdesk.opening import Preparation
    from hotdesk.packing import push_project_image
    from hotdesk.project import open_project

    target = parse_reference(reference)
    project = open_project(None, Path.cwd())
    with show_progress() as progress:
        image, pushed = push_project_image(
            project, Preparation(progress=progress), target, variant=variant, platform=platform, join=join
        )
    value = {
        "reference": str(pushed.reference),
        "digest": pushed.digest,
        "manifest": image.manifest.descriptor.digest,
        "id": image.id,
        "platform": image.platform,
        "blobs": {"there": pushed.there, "mounted": pushed.mounted, "sent": pushed.sent},
        "bytes": pushed.size,
    }
    text = (
        f"{pushed.reference}@{pushed.digest}\n"
        f"{image.platform}: {human_bytes(pushed.size)} sent in {pushed.sent} blobs, "
        f"{pushed.mounted} mounted, {pushed.there} were there"
    )
    print_answer(value, text, as_json=as_json)


@click.command(
    "pull",
    short_help="Pull an image from a registry into the store.",
    epilog="Example: `hotdesk pull registry.example/team/desk:1`.",
)
@click.argument("reference")
@platform_option
@json_option
def pull_command(reference: str, *, platform: str | None, as_json: bool) -> None:
    """Pull the image at REFERENCE into the store; every digest and size in it is checked."""
    from hotdesk.oci.registry.pull import pull
    from hotdesk.oci.registry.reference import parse_reference
    from hotdesk.project import host_platform
    from hotdesk.store import Store, default_store_path

    wanted = parse_reference(reference)
    with show_progress() as progress:
        store = Store(default_store_path(), progress.note)
        pulled = pull(store, wanted, platform or host_platform(), progress=progress)
    value = {
        "reference": str(pulled.reference),
        "digest": pulled.digest,
        "platform": pulled.platform,
        "layers": {"there": pulled.there, "fetched": pulled.fetched},
        "bytes": pulled.size,
    }
    text = (
        f"{pulled.reference.registry}/{pulled.reference.repository}@{pulled.digest}\n"
        f"{pulled.platform}: {human_bytes(pulled.size)} fetched in {pulled.fetched} layers, "
        f"{pulled.there} were there"
    )
    print_answer(value, text, as_json=as_json)
