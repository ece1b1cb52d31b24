"""Desks straight from an image, with no spec at hand: `hotdesk up REFERENCE` and `hotdesk up desk.tar`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.build.image_root import open_image_root
from hotdesk.desk import DeskOrder, Owner, claim, condition, open_desk
from hotdesk.desk.folder import damaged
from hotdesk.desk.ports import require_free
from hotdesk.engines import sandbox
from hotdesk.engines.request import PORT, LoadedImage
from hotdesk.errors import ImageError, NotCachedError
from hotdesk.keys import IMAGE_NAME
from hotdesk.opening import (
    check_folder,
    kept_limits,
    labels_of,
    own_folders,
    refuse_other_engine,
)
from hotdesk.project import host_platform, template_names
from hotdesk.spec import SPEC_NAME
from hotdesk.store import Store, default_store_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotdesk.desk import Desk, Opened
    from hotdesk.engines.request import Root
    from hotdesk.oci.model import Image
    from hotdesk.opening import Preparation

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an image is: in a file or folder at `path`, or in a registry at `reference`."""

    path: Path | None = None
    reference: str = ""

    def __str__(self) -> str:
        return self.reference if self.path is None else str(self.path)

    @property
    def name(self) -> str:
        """What a desk from it is called where nobody says."""
        if self.path is not None:
            base = self.path.name.removesuffix(".tar")
        else:
            base = self.reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
        return _NOT_IN_A_NAME.sub("-", base).strip("-._")[:60] or "desk"


def find_source(what: str, current: Path) -> Source | None:
    """The image that `what` means, None where it is a project, a template or nothing that is known."""
    path = Path(current, what)
    if what in template_names() or (path / SPEC_NAME).is_file():
        return None
    if path.is_file() or (path / "oci-layout").is_file():
        return Source(path.resolve())
    if path.exists() or "/" not in what or what.startswith((".", "/")):
        return None
    from hotdesk.oci.registry.reference import parse_reference

    return Source(reference=str(parse_reference(what)))


def read_image(
    source: Source, store: Store, preparation: Preparation, platform: str | None = None
) -> tuple[Image, Source]:
    """The image for `platform` or this host, pulled where it has to be, and where it will be found again."""
    wanted = platform or host_platform()
    if source.path is None:
        return _pulled(source.reference, wanted, store, preparation)
    from hotdesk.oci.layout import read_layout

    images = read_layout(source.path)
    for image in images:
        if image.platform == wanted or image.platform.startswith(f"{wanted}/"):
            return image, source
    raise ImageError(
        f"{source.path} holds no image for `{wanted}`",
        why=f"it holds {', '.join(image.platform for image in images)}",
        hint=f"`hotdesk build --platform {wanted} -o PATH` makes one, where the other was built",
    )


def _pulled(text: str, platform: str, store: Store, preparation: Preparation) -> tuple[Image, Source]:
    from hotdesk.oci.pulled import pulled_image, recall_reference
    from hotdesk.oci.registry.pull import noted_as, pull
    from hotdesk.oci.registry.reference import parse_reference

    reference = parse_reference(text)
    if reference.digest and store.item("pulled", reference.digest.partition(":")[2]).exists():
        return pulled_image(store, reference.digest), Source(reference=text)
    if preparation.offline:
        digest = recall_reference(store, noted_as(reference, platform))
        if not digest:
            raise NotCachedError(
                f"the image `{reference}` is not in the store",
                why="--offline promises to use no network",
                hint=f"`hotdesk pull {reference}` brings it there",
            )
    else:
        digest = pull(store, reference, platform, progress=preparation.progress).digest
    return pulled_image(store, digest), Source(reference=str(reference.at(digest)))


def open_image_desk(
    source: Source,
    folder: Path,
    preparation: Preparation,
    *,
    name: str | None = None,
    port: int | None = None,
) -> Opened:
    """The desk of the image at `source` on `folder`, started and answering."""
    check_folder(folder, preparation)
    if preparation.engine == "sandbox":
        sandbox.require_sandbox()  # rather now than after the download
    store = Store(default_store_path(), preparation.progress.note)
    image, found = read_image(source, store, preparation)
    desk = claim(name or source.name, Owner(folder, str(source)), fixed=name is not None)
    refuse_other_engine(desk, preparation)
    if port is not None and condition(desk).state not in ("running", "starting"):
        require_free(port)
    labels = {
        "variant": str(source),
        "port": str(port or PORT),
        "image": image.id,
        **labels_of(preparation.limits),
    }
    opened = _open(desk, _Kept(image.id, found, image), preparation, labels, port_fixed=port is not None)
    if opened.already and opened.desk.labels.get("image") != image.id:
        preparation.progress.note(
            f"`{desk.name}` still runs on the image it was opened with; "
            f"`hotdesk stop {desk.name}` and `hotdesk up` take the new one"
        )
    return opened


def is_from_image(desk: Desk) -> bool:
    return (desk.folder / "keep" / IMAGE_NAME).exists()


def reopen_image_desk(desk: Desk, preparation: Preparation, *, port: int | None = None) -> Opened:
    """A stopped desk as it was, from the very image that it was opened with."""
    if port is not None and condition(desk).state not in ("running", "starting"):
        require_free(port)
    engine, limits = desk.engine, kept_limits(desk)
    labels = {**desk.labels, "port": str(port or desk.labels.get("port") or PORT)}
    return _open(
        desk,
        _read_kept(desk),
        replace(preparation, engine=engine, limits=limits),
        labels,
        port_fixed=port is not None,
    )


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a desk keeps of its image: the ID, and where it came from. `image` is there where it was read."""

    id: str
    source: Source
    image: Image | None = None

    def to_json(self) -> bytes:
        place = (
            {"reference": self.source.reference} if self.source.path is None else {"path": str(self.source)}
        )
        return json.dumps({"id": self.id, **place}).encode()

    def read(self, store: Store, preparation: Preparation) -> Image:
        if self.image:
            return self.image
        image, _ = read_image(self.source, store, preparation)
        if image.id != self.id:
            raise ImageError(
                f"{self.source} holds another image now",
                why=f"the desk was opened with {self.id}, and there is {image.id}",
                hint="`hotdesk up` opens a desk with the new one",
            )
        return image


def _read_kept(desk: Desk) -> _Kept:
    try:
        found = json.loads((desk.folder / "keep" / IMAGE_NAME).read_bytes())
        path = found.get("path")
        return _Kept(str(found["id"]), Source(Path(path) if path else None, str(found.get("reference", ""))))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(desk.folder, f"it was edited: {error}", f"keep/{IMAGE_NAME}") from None


def _open(
    desk: Desk, kept: _Kept, preparation: Preparation, labels: Mapping[str, str], *, port_fixed: bool
) -> Opened:
    store = Store(default_store_path(), preparation.progress.note)

    def order(root: Root | LoadedImage) -> DeskOrder:
        return DeskOrder(
            name=desk.name,
            root=root,
            project=desk.project,
            port=int(labels["port"]),
            port_fixed=port_fixed,
            labels=labels,
            keep={IMAGE_NAME: kept.to_json()},
            hidden=own_folders(),
            limits=preparation.limits,
        )

    if preparation.engine != "sandbox":
        return open_desk(order(_loaded(store, kept, preparation, desk.name)), preparation.progress)
    with open_image_root(store, kept.id, lambda: kept.read(store, preparation), preparation.progress) as root:
        return open_desk(order(root), preparation.progress)


def _loaded(store: Store, kept: _Kept, preparation: Preparation, name: str) -> LoadedImage:
    from hotdesk.engines.loading import find_image, load, tag_of
    from hotdesk.oci.validate import measured

    assert preparation.engine != "sandbox"
    if found := find_image(preparation.engine, [kept.id]):
        return found
    image = measured(kept.read(store, preparation), preparation.progress)
    with store.exclusive(f"load-{preparation.engine}-{image.id.partition(':')[2]}"):
        return load(preparation.engine, image, tag_of(name, "image"), preparation.progress)
