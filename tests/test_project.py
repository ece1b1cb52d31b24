"""Which spec and lock a command means: the folder's, one above it, a folder by name, or a template."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hotdesk.errors import LockError, LockStaleError, UsageError
from hotdesk.lock import Lock, PlatformLock, read_lock, write_lock
from hotdesk.project import find_project, host_platform, open_project, read_template, template_names
from hotdesk.spec import explain_stale, parse_spec

SPEC = """
[desk]
name = "mine"
python = "3.13"
base = "debian:trixie"

[variants.first]
[variants.second]
"""


def a_project(folder: Path, name: str = "mine", *, locked: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hotdesk.toml").write_text(SPEC.replace("mine", name))
    if locked is not None:
        inputs = parse_spec(locked).inputs()
        write_lock(
            Lock(inputs, "20260101T000000Z", {host_platform(): PlatformLock((), ())}), folder / "hotdesk.lock"
        )
    return folder


def test_the_spec_of_this_folder_or_the_nearest_above_is_found(tmp_path: Path) -> None:
    a_project(tmp_path, "outer")
    inner = a_project(tmp_path / "a", "inner")
    below = inner / "b" / "c"
    below.mkdir(parents=True)

    assert find_project(inner).spec.name == "inner"
    assert find_project(below).folder == inner
    assert find_project(tmp_path).spec.name == "outer"


def test_a_folder_named_like_the_spec_is_none(tmp_path: Path) -> None:
    (tmp_path / "hotdesk.toml").mkdir()

    with pytest.raises(UsageError, match="hotdesk init"):
        find_project(tmp_path)


def test_a_folder_is_opened_by_its_path(tmp_path: Path) -> None:
    course = a_project(tmp_path / "course", "course")

    for what in ("course", "./course", str(course)):
        project = open_project(what, tmp_path)
        assert (project.folder, project.home, project.spec.name) == (course, course, "course")


def test_a_template_is_opened_on_the_folder_one_is_in(tmp_path: Path) -> None:
    project = open_project("sdcnd-term1", tmp_path)

    assert project.folder == tmp_path
    assert project.spec.name == "sdcnd-term1"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_a_spec_comes_before_a_template_of_the_same_name(tmp_path: Path) -> None:
    a_project(tmp_path / "sdcnd-term1", "my-own")

    assert open_project("sdcnd-term1", tmp_path).spec.name == "my-own"


def test_a_template_comes_before_a_folder_of_the_same_name_without_a_spec(tmp_path: Path) -> None:
    (tmp_path / "sdcnd-term1").mkdir()

    assert open_project("sdcnd-term1", tmp_path).folder == tmp_path


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("empty", "`hotdesk init` there writes one"),
        ("missing", "neither a folder nor a template"),
        ("sdcnd-tern1", "did you mean `sdcnd-term1`"),
    ],
)
def test_what_cannot_be_opened_is_said_with_what_can(tmp_path: Path, what: str, message: str) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match=message):
        open_project(what, tmp_path)


def test_the_first_variant_is_meant_where_none_is_named(tmp_path: Path) -> None:
    project = find_project(a_project(tmp_path, locked=SPEC))

    assert project.select(None).variant == "first"
    assert project.select("second").variant == "second"


def test_an_unknown_variant_is_refused_with_those_there_are(tmp_path: Path) -> None:
    project = find_project(a_project(tmp_path, locked=SPEC))

    with pytest.raises(LockError, match="`first`, `second`"):
        project.select("third")


def test_a_lock_of_another_spec_is_stale(tmp_path: Path) -> None:
    project = find_project(a_project(tmp_path, locked=SPEC + '[packages]\npypi = ["six"]'))

    with pytest.raises(LockStaleError, match="`six` was removed"):
        project.select(None)


def test_a_missing_lock_names_the_command_that_makes_one(tmp_path: Path) -> None:
    project = find_project(a_project(tmp_path))

    with pytest.raises(LockError, match="run `hotdesk lock`"):
        project.select(None)


@pytest.mark.parametrize("name", template_names())
def test_each_template_has_a_fresh_lock_with_packages_for_every_variant(name: str) -> None:
    project = read_template(name)
    lock = read_lock(project.lock_path)

    assert project.spec.name == name
    assert project.spec.description
    assert explain_stale(lock, project.spec) is None
    for variant in project.spec.variants:
        locked = lock.select("linux/amd64", variant)
        assert locked.debian
        assert "jupyterlab" in {package.name for package in locked.pypi}


@pytest.mark.parametrize("name", template_names())
def test_the_variants_of_a_template_hold_the_same_version_of_what_they_share(name: str) -> None:
    lock = read_lock(read_template(name).lock_path)

    for platform in lock.platforms.values():
        names = [package.name for package in platform.pypi]
        assert len(names) == len(set(names))


def test_a_template_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match="did you mean `sdcnd-term1`"):
        read_template("sdcnd")


def test_a_lock_that_was_edited_into_another_order_is_stale_and_says_so(tmp_path: Path) -> None:
    folder = a_project(tmp_path, locked=SPEC)
    project = find_project(folder)
    lock = read_lock(project.lock_path)
    wanted = replace(lock.inputs, pypi=("a", "b"))
    write_lock(replace(lock, inputs=replace(lock.inputs, pypi=("b", "a"))), project.lock_path)
    edited = replace(project, spec=replace(project.spec, pypi=wanted.pypi))

    with pytest.raises(LockStaleError) as caught:
        edited.read_fresh_lock()
    assert "another order" in caught.value.why
