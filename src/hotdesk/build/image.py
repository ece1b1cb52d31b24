"""A locked desk as an image: which layers it has, what is in each, and what its configuration says.

    base system        one layer; on an image, that image's layers as they are, and one with what changed
    the environment    a layer with what makes /opt/desk a virtual environment
    wheels             a layer for each group of the lock's plan, with the bytecode of its wheels

A layer is written when somebody wants its bytes. What is kept in the store is what was measured of each, so
that an image that was built before is known at once, and a new one measures its new layers alone.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack, suppress
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from hotdesk.build.base import base_layers, bring_base
from hotdesk.build.recipe import Recipe, WheelPart
from hotdesk.engines.request import HOME, PATH, PREFIX, USER, USER_ID, WORK
from hotdesk.errors import ImageError, StoreError
from hotdesk.keys import IMAGE_FORMAT, Keys, interpreter_hashes, wheel_sha256
from hotdesk.layers.contents import CONTENTS, TREE, read_contents
from hotdesk.lock_images import LockedImage, LockedLayer
from hotdesk.oci.layer import Measured, blob_chunks, made, measure, tar_chunks
from hotdesk.oci.model import LAYER, Blob, Descriptor, Image, Layer, image_of
from hotdesk.progress import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from hotdesk.fetch import Fetcher
    from hotdesk.layers.entries import Written
    from hotdesk.lock import DebianPackage, LockedVariant, PythonPackage
    from hotdesk.oci.layer import Member
    from hotdesk.progress import Progress
    from hotdesk.store import Store

_IMAGE = "image.json"
_PORT = 8888
# Whoever the user is: a home that belongs to somebody else is no place for Jupyter's files.
_START = (
    f'test -w "$HOME" || export HOME="$(mktemp -d)"; '
    f"exec jupyter lab --no-browser --ip=0.0.0.0 --port={_PORT} --ServerApp.port_retries=0 "
    f"--ServerApp.root_dir={WORK}"
)
_ANSWERS = f"import socket; socket.create_connection(('127.0.0.1', {_PORT}), 5)"
_SECOND = 10**9  # in nanoseconds
_LITTLE = 8 << 20  # compressed bytes: written before another process would have started


def build_image(
    store: Store, locked: LockedVariant, *, offline: bool = False, progress: Progress = SILENT
) -> Image:
    """The image of `locked`; only what was not measured before is, and made where it is not there.

    Its layers read their parts from the store: keep those there with `store.using(Keys.of(locked).parts())`.
    """
    keys = Keys.of(locked)

    def fill(item: Path) -> None:
        recipes = list(_recipes(store, locked, keys))
        known = _known(store)
        rows = _measure(store, locked, [recipe for recipe in recipes if _name(recipe) not in known], progress)
        layers = [[recipe.to_json(), known.get(_name(recipe)) or rows[_name(recipe)]] for recipe in recipes]
        record = {"format": IMAGE_FORMAT, "layers": layers}
        (item / _IMAGE).write_text(json.dumps(record), encoding="utf-8")

    with store.in_use():
        if not _has_parts(store, keys):
            _require_programs(store, locked)  # rather now than after the downloads
        bring_base(store, locked, offline=offline, progress=progress)
        if not _has_parts(store, keys):
            from hotdesk.fetch import Fetcher  # this and the like below: 60 ms for what is there already

            with Fetcher(store, offline=offline, snapshot=locked.snapshot, progress=progress) as fetcher:
                _make_parts(store, locked, fetcher, progress)
        rows = _read(store.make("image", keys.image, fill))
        image = _image(store, locked, rows)
        if locked.image and image.id != locked.image.id:
            raise _differs(store, locked.image, image, rows)
    return image


def _require_programs(store: Store, locked: LockedVariant) -> None:
    from hotdesk.engines.emulation import require_programs

    with store.scratch() as folder:
        require_programs(locked.platform, folder)


def _has_parts(store: Store, keys: Keys) -> bool:
    made = (item for item in keys.items() if item[0] not in ("environment", "image"))
    downloads = (store.download(sha256) for sha256 in keys.downloads)
    return all(path.exists() for path in (*(store.item(*item) for item in made), *downloads))


def locked_image(store: Store, locked: LockedVariant) -> LockedImage:
    """What a lock should know of the image of `locked`, which was built."""
    rows = _read(store.item("image", Keys.of(locked).image))
    base = [LockedLayer(layer.diff_id, "") for layer in base_layers(store, locked.base_image)]
    layers = [LockedLayer(f"sha256:{measured.diff_id}", measured.files) for _, measured in rows]
    return LockedImage(_image(store, locked, rows).id, (*base, *layers))


def verify_image(store: Store, item: Path) -> list[str]:
    """Each layer of an image's item that is not what was measured, by what is in the store now.

    What another hotdesk measured in its own way is nothing that this one ever reads.
    """
    if _is_of_another_format(item):
        return []
    rows = _read(item)
    if len(rows) < 2:  # the base system and an empty environment
        return [f"it has {len(rows)} layers"]
    return [
        f"layer {number} is not what was measured"
        for number, (recipe, measured) in enumerate(rows, 1)
        if measure(recipe.members(store.root)) != measured
    ]


def _differs(
    store: Store, locked: LockedImage, image: Image, rows: Sequence[tuple[Recipe, Measured]]
) -> ImageError:
    """Where the image is not the one that the lock knows: the first layer, and the first file in it."""
    where = "its configuration is another one"
    below = len(image.layers) - len(rows)  # those of the image that it is built on, which the lock pins
    if len(locked.layers) != len(image.layers):
        where = f"it has {len(image.layers)} layers, not {len(locked.layers)}"
    pairs = zip(rows, locked.layers[below:], strict=False)
    for number, ((recipe, measured), known) in enumerate(pairs, below):
        if known.diff_id != f"sha256:{measured.diff_id}":
            layer = f"layer {number + 1} ({image.layers[number].history[:60]}…)"
            members = [member.entry.path for member in made(recipe.members(store.root))]
            path = _first_difference(known.files, measured.files, members)
            where = f"{layer} differs, first in `{path}`" if path else f"{layer} differs"
            break
    return ImageError(
        f"the image of `{image.platform}` is not the one that the lock knows",
        why=f"it is {image.id}, not {locked.id}: {where}",
        hint="`hotdesk cache verify` says whether the store is intact; `hotdesk build --accept` locks it",
    )


def _first_difference(known: str, found: str, paths: Sequence[str]) -> str:
    for number, path in enumerate(paths):
        if known[2 * number : 2 * number + 2] != found[2 * number : 2 * number + 2]:
            return path
    return ""


def _make_parts(store: Store, locked: LockedVariant, fetcher: Fetcher, progress: Progress) -> None:
    """Everything that layers are written from: the base system, the wheels themselves and their bytecode."""
    from hotdesk.build.assembly import Assembly
    from hotdesk.build.bytecode import Interpreter, compile_wheels

    keys = Keys.of(locked)
    Assembly(store, locked, fetcher, progress=progress).make_parts()
    wheels = [package.artifact for package in locked.pypi if not package.build]
    for _ in fetcher.fetch([artifact for artifact in wheels if not store.download(artifact.sha256).exists()]):
        pass
    interpreter = Interpreter(
        store.item("system", keys.system) / TREE, locked.python, interpreter_hashes(locked)
    )
    missing = [
        store.item("wheel", wheel)
        for wheel, bytecode in zip(keys.wheels, keys.bytecode, strict=True)
        if not store.item("bytecode", bytecode).exists()
    ]
    for _ in compile_wheels(store, missing, interpreter, progress=progress) if missing else ():
        pass


def _recipes(store: Store, locked: LockedVariant, keys: Keys) -> Iterator[Recipe]:
    yield Recipe(locked.python, system=_below(store, store.item("system", keys.system)))
    yield Recipe(locked.python)
    packages = list(zip(locked.pypi, keys.wheels, keys.bytecode, strict=True))
    left_out = _left_out(store, locked, keys)
    for _, group in groupby(packages, key=lambda row: row[0].layer):
        yield Recipe(
            locked.python,
            wheels=tuple(
                WheelPart(
                    file=_below(store, _wheel_file(store, package, keys)),
                    name=package.build.wheel if package.build else package.artifact.name,
                    sha256=wheel_sha256(package),
                    bytecode=_below(store, store.item("bytecode", bytecode)),
                    without=tuple(sorted(left_out[wheel][0])),
                    bytecode_without=tuple(sorted(left_out[wheel][1])),
                )
                for package, wheel, bytecode in group
            ),
        )


def _left_out(store: Store, locked: LockedVariant, keys: Keys) -> dict[str, tuple[set[str], set[str]]]:
    """For each wheel, by its key, the paths of its own and of its bytecode that it leaves to others.

    A later layer covers an earlier one by itself. What remains is wheels that share a layer, what a wheel
    ships in the place of our bytecode, and the bytecode of a module which another wheel has.
    """
    from hotdesk.build.environment import shared_paths, won

    wheels = [store.item("wheel", key) for key in keys.wheels]
    contents = {wheel: read_contents(wheel).entries for wheel in wheels}
    owners = {path: wheel.name for path, wheel in shared_paths(contents, locked.python).items()}
    files = {wheel: _paths(entries) for wheel, entries in contents.items()}
    last = {
        (package.layer, path): wheel
        for package, wheel in zip(locked.pypi, wheels, strict=True)
        for path in files[wheel] & owners.keys()
    }
    bytecode = [read_contents(store.item("bytecode", key)).entries for key in keys.bytecode]
    kept = [
        {written.path for written in won(entries, key, owners)}
        for entries, key in zip(bytecode, keys.wheels, strict=True)
    ]
    ours = set[str]().union(*kept)
    left_out = {}
    for package, wheel, entries, compiled in zip(locked.pypi, wheels, bytecode, kept, strict=True):
        gone = {path for path in files[wheel] & owners.keys() if last[package.layer, path] != wheel}
        left_out[wheel.name] = gone | (files[wheel] & ours), _paths(entries) - compiled
    return left_out


def _paths(entries: Iterable[Written]) -> set[str]:
    return {written.path for written in entries if written.content != "directory"}


def _wheel_file(store: Store, package: PythonPackage, keys: Keys) -> Path:
    if package.build:
        return store.item("built", keys.built[package.name]) / package.build.wheel
    return store.download(package.artifact.sha256)


def _below(store: Store, path: Path) -> str:
    return path.relative_to(store.root).as_posix()


def _name(recipe: Recipe) -> str:
    return json.dumps(recipe.to_json())


def _known(store: Store) -> dict[str, dict[str, Any]]:
    """What was measured of layers before, in whatever image."""
    found = {}
    for item in (store.root / "items" / "image").glob("*"):
        with suppress(StoreError):  # `hotdesk cache verify` tells
            found.update({_name(recipe): asdict(measured) for recipe, measured in _read(item)})
    return found


def _measure(
    store: Store, locked: LockedVariant, recipes: Sequence[Recipe], progress: Progress
) -> dict[str, dict[str, Any]]:
    weights = [_weight(store, recipe) for recipe in recipes]
    with ExitStack() as stack:
        task = stack.enter_context(progress.task("writing layers", len(recipes)))
        if sum(weights) < _LITTLE:
            jobs: Iterator[dict[str, Any]] = (
                asdict(measure(recipe.members(store.root))) for recipe in recipes
            )
        else:
            from hotdesk.build.processes import Unpackers

            workers = stack.enter_context(Unpackers(store, locked.python))
            futures = [
                workers.measure(recipe.to_json(), weight)
                for recipe, weight in zip(recipes, weights, strict=True)
            ]
            jobs = (future.result() for future in futures)
        found = {}
        for recipe, measured in zip(recipes, jobs, strict=True):
            found[_name(recipe)] = measured
            task.advance(1)
        return found


def _weight(store: Store, recipe: Recipe) -> int:
    """About how long it takes to write the layer, in compressed bytes."""
    if recipe.system:
        return (store.root / recipe.system / CONTENTS).stat().st_size * 100
    return sum((store.root / part.file).stat().st_size for part in recipe.wheels)


def _is_of_another_format(item: Path) -> bool:
    try:
        record = json.loads((item / _IMAGE).read_bytes())
        return (
            isinstance(record, list) or record["format"] != IMAGE_FORMAT
        )  # before there was a number, a list
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False  # it is damaged: `_read` tells


def _read(item: Path) -> list[tuple[Recipe, Measured]]:
    try:
        record = json.loads((item / _IMAGE).read_bytes())
        if record["format"] != IMAGE_FORMAT:
            raise ValueError(f"its format is {record['format']}, not {IMAGE_FORMAT}")
        return [(Recipe.from_json(recipe), Measured(**measured)) for recipe, measured in record["layers"]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(
            f"the store's item {item} is damaged",
            why=f"{_IMAGE}: {error}",
            hint="remove this folder; it is made anew when it is needed",
        ) from None


def _image(store: Store, locked: LockedVariant, rows: Sequence[tuple[Recipe, Measured]]) -> Image:
    groups = [list(group) for _, group in groupby(locked.pypi, key=lambda package: package.layer)]
    histories = [
        f"{locked.base}: {_listed(locked.debian)}",
        f"Python {locked.python}: an empty environment",
        *(_listed(group) for group in groups),
    ]
    layers = [
        _layer(store, recipe, measured, history)
        for (recipe, measured), history in zip(rows, histories, strict=True)
    ]
    below = base_layers(store, locked.base_image)
    return image_of(locked.platform, settings_of(locked), [*below, *layers])


def _listed(packages: Sequence[PythonPackage] | Sequence[DebianPackage]) -> str:
    return ", ".join(f"{package.name} {package.version}" for package in packages)


def _layer(store: Store, recipe: Recipe, measured: Measured, history: str) -> Layer:
    def members() -> list[Member]:
        return recipe.members(store.root)

    return Layer(
        blob=Blob(
            Descriptor(LAYER, f"sha256:{measured.digest}", measured.size),
            lambda: _the_same(measured.digest, blob_chunks(members()), history),
        ),
        diff_id=f"sha256:{measured.diff_id}",
        tar_size=measured.tar_size,
        tar_chunks=lambda: _the_same(measured.diff_id, tar_chunks(members()), history),
        history=history,
    )


def _the_same(sha256: str, chunks: Iterator[bytes], history: str) -> Iterator[bytes]:
    """The chunks; raises at their end where they are not those that were measured."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != sha256:
        raise StoreError(
            f"the layer of {history[:60]} is not what was measured",
            why=f"its SHA-256 is {digest.hexdigest()}, not {sha256}",
            hint="`hotdesk cache verify --repair` removes what is damaged; it is made anew when it is needed",
        )


def settings_of(locked: LockedVariant) -> dict[str, Any]:
    """The configuration's `config`: who runs what, where, for plain `docker run` and for Kubernetes."""
    return {
        "Cmd": ["/bin/sh", "-c", _START],
        "Env": [f"{name}={value}" for name, value in _environment().items()],
        "ExposedPorts": {f"{_PORT}/tcp": {}},
        # Docker's own extension; others leave it out.
        "Healthcheck": {
            "Test": ["CMD", f"{PREFIX}/bin/python", "-c", _ANSWERS],
            "Interval": 30 * _SECOND,
            "Timeout": 10 * _SECOND,
            "StartPeriod": 60 * _SECOND,
        },
        "Labels": {
            **_base_labels(locked),
            "org.opencontainers.image.title": f"hotdesk desk, Python {locked.python}, {locked.variant}",
        },
        "User": f"{USER_ID}:{USER_ID}",
        "WorkingDir": WORK,
    }


def _base_labels(locked: LockedVariant) -> dict[str, str]:
    """Without the registry: an image from a mirror of it makes the same desk."""
    label = "org.opencontainers.image.base"
    if locked.base_image is None:
        return {f"{label}.name": locked.base}
    return {f"{label}.name": locked.base.partition(":")[2], f"{label}.digest": locked.base_image.digest}


def _environment() -> dict[str, str]:
    return {
        "PATH": PATH,
        "HOME": HOME,
        "USER": USER,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": PREFIX,
        "PYTHONNOUSERSITE": "1",
    }
