"""Desks straight from an image, with no spec at hand: `hotdesk up REFERENCE` and `hotdesk up desk.tar`."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotdesk.build.image_root import open_image_root
from hotdesk.desk import Owner, claim, open_desk
from hotdesk.desk.folder import damaged
from hotdesk.engines.request import PORT
from hotdesk.errors import ImageError, NotCachedError
from hotdesk.keys import IMAGE_NAME
from hotdesk.opening import (
    Opening,
    as_it_runs,
    as_it_was,
    check_folder,
    labels_of,
    require,
    require_port,
)
from hotdesk.project import host_platform, template_names
from hotdesk.spec import SPEC_NAME
from hotdesk.store import Store, default_store_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotdesk.desk import Desk, Opened
    from hotdesk.engines.request import ContainerEngineName, LoadedImage
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


@contextmanager
def read_image(
    source: Source, store: Store, preparation: Preparation, platform: str | None = None
) -> Iterator[tuple[Image, Source]]:
    """The image for `platform` or this host, pulled where it has to be, and where it will be found again.

    Garbage collection leaves what it is read from alone meanwhile.
    """
    wanted = platform or host_platform()
    if source.path is not None:
        yield _in_layout(source.path, wanted), source
        return
    with ExitStack() as held:
        with store.in_use():  # nothing collects it between its arrival and our hold on it
            digest, found = _pulled(source.reference, wanted, store, preparation)
            held.enter_context(store.using([("pulled", digest.partition(":")[2])]))
        from hotdesk.oci.pulled import pulled_image

        yield pulled_image(store, digest), found


def _in_layout(path: Path, platform: str) -> Image:
    from hotdesk.oci.layout import read_layout

    images = read_layout(path)
    for image in images:
        if image.platform == platform or image.platform.startswith(f"{platform}/"):
            return image
    raise ImageError(
        f"{path} holds no image for `{platform}`",
        why=f"it holds {', '.join(image.platform for image in images)}",
        hint=f"`hotdesk build --platform {platform} -o PATH` makes one, where the other was built",
    )


def _pulled(text: str, platform: str, store: Store, preparation: Preparation) -> tuple[str, Source]:
    """The digest of the image's manifest, which is in the store now."""
    from hotdesk.oci.pulled import recall_reference
    from hotdesk.oci.registry.pull import noted_as, pull
    from hotdesk.oci.registry.reference import parse_reference

    reference = parse_reference(text)
    if reference.digest and store.item("pulled", reference.digest.partition(":")[2]).exists():
        return reference.digest, Source(reference=text)
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
    return digest, Source(reference=str(reference.at(digest)))


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
    require(preparation.engine)
    store = Store(default_store_path(), preparation.progress.note)
    with read_image(source, store, preparation) as (image, found):
        desk = claim(name or source.name, Owner(folder, str(source)), fixed=name is not None)
        preparation = as_it_runs(desk, preparation)
        require_port(desk, port)
        labels = {
            "variant": str(source),
            "port": str(port or PORT),
            "image": image.id,
            **labels_of(preparation),
        }
        kept = _Kept(image.id, found)
        opening = Opening(desk, preparation, labels, kept.files(), port_fixed=port is not None)
        opened = _open(opening, store, image.id, lambda: image)
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
    require_port(desk, port)
    kept = _read_kept(desk)
    preparation = as_it_was(desk, preparation)
    require(preparation.engine)
    labels = {**desk.labels, "port": str(port or desk.labels.get("port") or PORT)}
    store = Store(default_store_path(), preparation.progress.note)
    opening = Opening(desk, preparation, labels, kept.files(), port_fixed=port is not None)
    with ExitStack() as held:

        def read() -> Image:
            image, _ = held.enter_context(read_image(kept.source, store, preparation))
            kept.check(image)
            return image

        return _open(opening, store, kept.id, read)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a desk keeps of its image: the ID, and where it came from."""

    id: str
    source: Source

    def files(self) -> dict[str, bytes]:
        place = (
            {"reference": self.source.reference} if self.source.path is None else {"path": str(self.source)}
        )
        return {IMAGE_NAME: json.dumps({"id": self.id, **place}).encode()}

    def check(self, image: Image) -> None:
        if image.id != self.id:
            raise ImageError(
                f"{self.source} holds another image now",
                why=f"the desk was opened with {self.id}, and there is {image.id}",
                hint="`hotdesk up` opens a desk with the new one",
            )


def _read_kept(desk: Desk) -> _Kept:
    try:
        found = json.loads((desk.folder / "keep" / IMAGE_NAME).read_bytes())
        path = found.get("path")
        return _Kept(str(found["id"]), Source(Path(path) if path else None, str(found.get("reference", ""))))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(desk.folder, f"it was edited: {error}", f"keep/{IMAGE_NAME}") from None


def _open(opening: Opening, store: Store, image_id: str, read: Callable[[], Image]) -> Opened:
    """`read` is asked for the image where what runs it does not have it yet."""
    preparation = opening.preparation
    if preparation.engine != "sandbox":
        loaded = _loaded(opening, store, image_id, read, preparation.engine)
        return open_desk(opening.order(loaded), preparation.progress)
    with open_image_root(store, image_id, read, preparation.progress) as root:
        return open_desk(opening.order(root), preparation.progress)


def _loaded(
    opening: Opening, store: Store, image_id: str, read: Callable[[], Image], engine: ContainerEngineName
) -> LoadedImage:
    from hotdesk.engines.loading import find_image, load, tag_of
    from hotdesk.oci.validate import measured

    if found := find_image(engine, [image_id]):
        return found
    progress = opening.preparation.progress
    image = measured(read(), progress)
    with store.exclusive(f"load-{engine}-{image.id.partition(':')[2]}"):
        return load(engine, image, tag_of(opening.desk.name, "image"), progress)
