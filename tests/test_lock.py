from __future__ import annotations

from pathlib import Path

import pytest

from hotdesk.errors import LockError
from hotdesk.lock import (
    Artifact,
    Build,
    DebianPackage,
    Inputs,
    Lock,
    PlatformLock,
    PythonPackage,
    format_lock,
    parse_lock,
    read_lock,
    write_lock,
)

INPUTS = Inputs(
    python="3.13",
    base="debian:trixie",
    platforms=("linux/amd64",),
    pypi=("six",),
    debian=("unzip",),
    variants={"cpu": ((), ()), "gpu": (("big",), ())},
)


def wheel(name: str, **changes: object) -> PythonPackage:
    artifact = Artifact("pypi", name, f"{name}-1.0-py3-none-any.whl", 1000, "a" * 64)
    values: dict[str, object] = {"variants": ("cpu", "gpu"), "layer": 0, "build": None} | changes
    return PythonPackage(name, "1.0", artifact, **values)  # type: ignore[arg-type]


def deb(name: str) -> DebianPackage:
    artifact = Artifact(
        "debian", "debian", f"pool/main/{name[0]}/{name}/{name}_1.0_amd64.deb", 2000, "b" * 64
    )
    return DebianPackage(name, "1.0", "amd64", artifact, ("cpu", "gpu"))


def lock_of(*pypi: PythonPackage, **unavailable: str) -> Lock:
    platform = PlatformLock((deb("unzip"),), pypi, unavailable)
    return Lock(INPUTS, "20260101T000000Z", {"linux/amd64": platform})


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    build = Build(
        (Artifact("pypi", "wheel", "wheel-1-py3-none-any.whl", 5, "d" * 64),), "six-1.whl", "c" * 64
    )
    lock = lock_of(wheel("six", build=build), wheel("big", variants=("gpu",), layer=3))

    write_lock(lock, tmp_path / "hotdesk.lock")

    assert read_lock(tmp_path / "hotdesk.lock") == lock
    assert [path.name for path in tmp_path.iterdir()] == ["hotdesk.lock"]


def test_each_package_has_a_line_of_its_own_so_that_a_diff_can_be_read() -> None:
    before = format_lock(lock_of(wheel("six"))).splitlines()
    after = format_lock(lock_of(wheel("six"), wheel("new"))).splitlines()

    assert len(set(after) - set(before)) <= 2
    assert len(after) == len(before) + 1


def test_a_variant_holds_its_own_packages_in_the_order_of_layers() -> None:
    lock = lock_of(wheel("z", layer=0), wheel("a", layer=1), wheel("big", variants=("gpu",), layer=0))

    names = {
        variant: [p.name for p in lock.select("linux/amd64", variant).pypi] for variant in ("cpu", "gpu")
    }

    assert names == {"cpu": ["z", "a"], "gpu": ["big", "z", "a"]}


@pytest.mark.parametrize(
    ("platform", "variant", "message"),
    [
        ("linux/arm64", "cpu", "`linux/amd64`"),
        ("linux/amd64", "cpo", "`cpu`, `gpu`"),
        ("linux/amd64", "gpu", "no wheel of big"),
    ],
)
def test_what_the_lock_does_not_hold_is_refused_with_what_it_holds(
    platform: str, variant: str, message: str
) -> None:
    lock = lock_of(wheel("six"), gpu="no wheel of big")

    with pytest.raises(LockError, match=message):
        lock.select(platform, variant)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("six-1.0-py3-none-any.whl", "../six.whl"),
        ("six-1.0-py3-none-any.whl", "/etc/passwd"),
        ("pool/main/u", "pool/../u"),
        ("pool/main/u", "pool/main/../../u"),
        ("pool/main/u", "https://host/u"),
        ('"a', '"A'),
        ("a" * 64, "a" * 63),
        ('"name": "unzip"', '"name": "../../../../home/owned"'),
        ('"name": "unzip"', '"name": "unzip; reboot"'),
        ('"name": "unzip"', '"name": ""'),
        ('"version": "1.0", "architecture"', '"version": "1.0\\n", "architecture"'),
        ('"architecture": "amd64"', '"architecture": "../amd64"'),
        ('"archive": "debian"', '"archive": "debian/../.."'),
        ('"name": "six"', '"name": "../six"'),
        ('"name": "six"', '"name": "Six"'),
        ('"version": "1.0", "file": "six', '"version": "../1.0", "file": "six'),
        ('"name": "wheel"', '"name": "-r /etc/passwd"'),
        ('"python": "3.13"', '"python": "3.13/../../.."'),
        ("20260101T000000Z", "20260231T000000Z"),
        ("20260101T000000Z", "../x"),
    ],
)
def test_a_lock_that_names_files_elsewhere_or_no_real_hash_is_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    requires = (Artifact("pypi", "wheel", "wheel-1-py3-none-any.whl", 5, "d" * 64),)
    text = format_lock(lock_of(wheel("six", build=Build(requires, "six-1.whl", "c" * 64))))
    assert old in text
    (tmp_path / "hotdesk.lock").write_text(text.replace(old, new))

    with pytest.raises(LockError):
        read_lock(tmp_path / "hotdesk.lock")


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"hotdesk-lock": 99}', '{"hotdesk-lock": 1}', "\xff"]
)
def test_what_is_no_lock_is_refused_with_a_cure(tmp_path: Path, text: str) -> None:
    (tmp_path / "hotdesk.lock").write_text(text, encoding="latin-1")

    with pytest.raises(LockError) as caught:
        read_lock(tmp_path / "hotdesk.lock")

    assert caught.value.hint


@pytest.mark.parametrize("name", ["../six", "Six", "six; reboot"])
def test_no_lock_is_written_that_could_not_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(LockError, match="cannot be locked"):
        write_lock(lock_of(wheel(name)), tmp_path / "hotdesk.lock")

    assert not list(tmp_path.iterdir())


def test_parsing_is_the_inverse_of_formatting_for_every_lock() -> None:
    text = format_lock(lock_of(wheel("six"), gpu="reason with “quotes” and\nlines"))

    assert format_lock(parse_lock(text)) == text


def test_a_lock_that_is_nested_too_deep_is_none(tmp_path: Path) -> None:
    (tmp_path / "hotdesk.lock").write_text("[" * 100_000)

    with pytest.raises(LockError, match="not a lock that this hotdesk can read"):
        read_lock(tmp_path / "hotdesk.lock")
