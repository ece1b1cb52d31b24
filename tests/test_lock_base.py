"""What a lock has of the image that a desk is built on."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hotdesk.keys import Keys, needs_of
from hotdesk.lock import Inputs, Lock, PlatformLock, format_lock, parse_lock
from hotdesk.lock_base import LockedBase, LockedBlob
from hotdesk.lock_images import LockedImage, keep_images

INPUTS = Inputs("3.13", "oci:team/base:1", ("linux/amd64",), (), (), {"cpu": ((), ())})


def blob(kind: str, digit: str) -> LockedBlob:
    return LockedBlob(f"application/vnd.oci.image.{kind}", f"sha256:{digit * 64}", 1000)


def base(digit: str = "a") -> LockedBase:
    layers = (blob("layer.v1.tar+gzip", "c"), blob("layer.v1.tar", "d"))
    return LockedBase(
        blob("manifest.v1+json", digit), blob("config.v1+json", "b"), layers, "debian:trixie", "3.13.5", 41
    )


def lock_of(image: LockedBase) -> Lock:
    return Lock(INPUTS, "20260101T000000Z", {"linux/amd64": PlatformLock((), (), base=image)})


def test_it_is_read_as_it_was_written() -> None:
    lock = lock_of(base())

    assert parse_lock(format_lock(lock)) == lock
    assert lock.select("linux/amd64", "cpu").base_image == base()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("manifest", ["application/json", "sha256:../../etc", 1]),
        ("manifest", ["x\ny", f"sha256:{'a' * 64}", 1]),
        ("release", "debian:trixie/../x"),
        ("python", "3.13.5; rm"),
        ("layers", [["application/json", "md5:1", 1]]),
    ],
)
def test_what_no_lock_of_ours_says_is_refused(key: str, value: object) -> None:
    data = json.loads(format_lock(lock_of(base())))
    data["platforms"]["linux/amd64"]["base"][key] = value

    with pytest.raises(ValueError, match="is no word"):
        parse_lock(json.dumps(data))


def test_where_the_image_is_to_be_had_is_no_part_of_a_desk() -> None:
    locked = lock_of(base()).select("linux/amd64", "cpu")
    elsewhere = replace(locked, source="mirror.example/team/base:1")

    assert elsewhere == locked
    assert Keys.of(elsewhere) == Keys.of(locked)


def test_another_image_makes_another_desk() -> None:
    one, other = (lock_of(base(digit)).select("linux/amd64", "cpu") for digit in "ae")
    plain = replace(one, base_image=None)

    assert len({Keys.of(locked).system for locked in (one, other, plain)}) == 3
    assert len({Keys.of(locked).environment for locked in (one, other, plain)}) == 3


def test_the_store_keeps_the_image_for_those_who_need_it() -> None:
    assert ("pulled", "a" * 64) in needs_of(lock_of(base())).items


def test_an_image_built_on_another_one_is_forgotten() -> None:
    built = LockedImage(f"sha256:{'1' * 64}", ())
    before = replace(lock_of(base()), images={"linux/amd64": {"cpu": built}})

    assert keep_images(lock_of(base()), before).images == before.images
    assert keep_images(lock_of(base("e")), before).images == {}
