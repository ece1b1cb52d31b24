"""Images into real engines: whole, by their difference, and what happens where that fails."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.busybox import busybox_image, note
from tests.support.images import layer, noise

from hotdesk.engines.loading import find_image, load
from hotdesk.errors import EngineError
from hotdesk.oci.model import image_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.container_engines import Engine

    from hotdesk.oci.model import Image, Layer

pytestmark = pytest.mark.integration

TAG = "localhost/hotdesk/test:cpu"
KILLS = int(os.environ.get("HOTDESK_TEST_KILLS", "4"))

_LOAD = """
import sys
from tests.integration.test_loading import TAG, image_to_kill
from hotdesk.engines.loading import load

image = image_to_kill(int(sys.argv[2]))
print("ready", flush=True)
load(sys.argv[1], image, TAG)
"""


def unreadable(layer: Layer) -> Layer:
    """The same layer, of which nobody may want the bytes."""

    def refuse() -> Iterator[bytes]:
        raise AssertionError(f"the layer `{layer.history}` is sent")

    return replace(layer, blob=replace(layer.blob, chunks=refuse), tar_chunks=refuse)


def with_layers(image: Image, layers: list[Layer]) -> Image:
    return replace(image, layers=tuple(layers))


def test_an_image_arrives_under_its_own_id_and_is_not_sent_again(engine: Engine) -> None:
    image = busybox_image(note(f"first in {engine.name}"))

    loaded = load(engine.name, image, TAG)
    seconds = []
    for _ in range(3):
        begin = time.monotonic()
        again = load(engine.name, with_layers(image, [unreadable(layer) for layer in image.layers]), TAG)
        seconds.append(time.monotonic() - begin)
        assert again == loaded

    assert loaded.id == image.id
    assert loaded == find_image(engine.name, [image.id])
    assert min(seconds) < 1  # 0.1 on a quiet machine
    assert TAG in engine.inspect(image.id)[0]["RepoTags"]


def test_only_what_the_engine_lacks_is_sent(engine: Engine) -> None:
    lower = busybox_image(note("lower"))
    load(engine.name, lower, TAG)
    upper = busybox_image(note("lower"), note("upper"))

    sent = with_layers(upper, [*map(unreadable, upper.layers[:-1]), upper.layers[-1]])

    assert load(engine.name, sent, TAG).id == upper.id
    assert engine.ask("run", "--rm", "--network", "none", upper.id, "cat", "/note/lower") == "lower"
    assert engine.ask("run", "--rm", "--network", "none", upper.id, "cat", "/note/upper") == "upper"


def test_a_layer_further_up_is_sent_again_only_where_the_engine_needs_it(engine: Engine) -> None:
    load(engine.name, busybox_image(note("one"), note("shared")), TAG)
    other = busybox_image(note("two"), note("shared"))
    layers = [unreadable(other.layers[0]), other.layers[1], other.layers[2]]
    if engine.name == "podman":
        layers[2] = unreadable(layers[2])

    assert load(engine.name, with_layers(other, layers), TAG).id == other.id
    assert engine.ask("run", "--rm", "--network", "none", other.id, "cat", "/note/shared") == "shared"


def test_what_is_removed_meanwhile_is_sent_after_all(engine: Engine) -> None:
    """The engine says that it has a layer, and loses it before it needs it."""
    lower = busybox_image(note("removed meanwhile"))
    load(engine.name, lower, TAG)
    upper = busybox_image(note("removed meanwhile"), note("on top"))
    times = 0

    def remove_and_read() -> Iterator[bytes]:
        nonlocal times
        times += 1
        if times == 1:
            engine.ask("image", "rm", "--force", lower.id)
        return upper.layers[-1].tar_chunks()

    top = replace(upper.layers[-1], tar_chunks=remove_and_read)

    assert load(engine.name, with_layers(upper, [*upper.layers[:-1], top]), TAG).id == upper.id
    assert times == 2
    assert engine.ask("run", "--rm", "--network", "none", upper.id, "cat", "/note/on top") == "on top"


def test_an_image_that_is_not_what_it_says_is_no_image(engine: Engine) -> None:
    true, false = note("what it is"), note("what it says")
    image = image_of("linux/amd64", {}, [replace(true, diff_id=false.diff_id)])

    with pytest.raises(EngineError, match=f"refuses `{engine.name} load`") as caught:
        load(engine.name, image, TAG)

    assert len(caught.value.why.splitlines()) > 1  # its own words
    assert caught.value.why.endswith(f"it has no image {image.id} afterwards")
    assert find_image(engine.name, [image.id]) is None


def image_to_kill(number: int) -> Image:
    """One of many whose loading takes a while; the first layers of any two are the same."""
    own = [layer(f"data/{place}", noise(2_000_000, 2 * number + place)) for place in range(2)]
    return busybox_image(note("below all"), *own)


def is_whole(engine: Engine, image: Image, file: Path) -> bool:
    """What the engine gives for each of the image's layers has the digest of that layer."""
    engine.ask("save", "--output", str(file), image.id)
    with tarfile.open(file) as archive:
        content = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        (row,) = json.loads((content["manifest.json"] or pytest.fail("no manifest")).read())
        layers = [content[name] or pytest.fail(f"no {name}") for name in row["Layers"]]
        found = ["sha256:" + hashlib.sha256(file.read()).hexdigest() for file in layers]
    file.unlink()
    return found == [layer.diff_id for layer in image.layers]


def test_after_a_kill_the_next_load_gives_the_whole_image(engine: Engine, tmp_path: Path) -> None:
    chance = random.Random(20261123)
    load(engine.name, image_to_kill(1), TAG)
    second = image_to_kill(2)
    begin = time.monotonic()
    load(engine.name, second, TAG)
    whole = time.monotonic() - begin
    killed = 0
    for number in range(3, KILLS + 3):
        image = image_to_kill(number)
        with subprocess.Popen(
            [sys.executable, "-c", _LOAD, engine.name, str(number)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            begin = time.monotonic()
            try:
                process.wait(chance.uniform(0, whole))
                whole = time.monotonic() - begin  # it became faster
            except subprocess.TimeoutExpired:
                # Alone, as where memory runs out, or with the engine's own client.
                (os.kill if number % 2 else os.killpg)(process.pid, signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
        if find_image(engine.name, [image.id]):
            assert is_whole(engine, image, tmp_path / "image.tar")

        assert load(engine.name, image, TAG).id == image.id
        assert is_whole(engine, image, tmp_path / "image.tar")
    assert killed > KILLS / 3  # else the test has killed too late to mean anything
