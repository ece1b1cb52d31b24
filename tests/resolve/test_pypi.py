"""Variants agree, what is locked stays, and an addition asks for the new package alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.resolve.index_folder import add_wheel, settings_for

from hotdesk.errors import ResolveError
from hotdesk.resolve.pypi import PythonRequest, PythonResolution, PythonResolver
from hotdesk.resolve.uv import Choice, NoSolution, Question, Uv
from hotdesk.resolve.wheels import Target
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target("linux/amd64", "debian:trixie")


class Index:
    """A folder of wheels, and uv on it; `questions` is what uv was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "index"
        self.folder.mkdir()
        self.uv = Uv(Store(folder / "store"), settings_for(self.folder))
        self.questions: list[Question] = []

    def add(self, name: str, version: str, *requires: str, tag: str = "py3-none-any") -> None:
        add_wheel(self.folder, name, version, *requires, tag=tag)

    def compile(self, question: Question, target: Target) -> list[Choice] | NoSolution:
        self.questions.append(question)
        return self.uv.compile(question, target)

    def resolve(self, request: PythonRequest) -> PythonResolution:
        return PythonResolver(TARGET, self.compile).resolve(request)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path)


def versions(resolution: PythonResolution) -> dict[str, str]:
    return {package.name: package.version for package in resolution.packages}


def test_each_package_is_locked_once_with_the_variants_that_hold_it(index: Index) -> None:
    index.add("shared", "1.0")
    index.add("only-gpu", "1.0", "shared")

    resolution = index.resolve(PythonRequest({"cpu": ("shared",), "gpu": ("only-gpu",)}))

    assert {package.name: package.variants for package in resolution.packages} == {
        "only-gpu": ("gpu",),
        "shared": ("cpu", "gpu"),
    }
    package = resolution.packages[1]
    assert package.artifact.file == "shared-1.0-py3-none-any.whl"
    assert package.artifact.size == (index.folder / package.artifact.file).stat().st_size
    assert dict(resolution.places)[package.artifact].startswith("file:")


def test_the_first_variant_gives_way_to_what_the_second_needs(index: Index) -> None:
    index.add("shared", "1.0")
    index.add("shared", "2.0")
    index.add("old", "1.0", "shared<2")

    resolution = index.resolve(PythonRequest({"cpu": ("shared",), "gpu": ("shared", "old")}))

    assert versions(resolution) == {"shared": "1.0", "old": "1.0"}


def test_variants_that_cannot_agree_are_told_with_package_and_versions(index: Index) -> None:
    index.add("shared", "1.0")
    index.add("shared", "2.0")

    with pytest.raises(ResolveError, match="same version") as caught:
        index.resolve(PythonRequest({"cpu": ("shared<2",), "gpu": ("shared>=2",)}))

    assert caught.value.why == "`shared`: 1.0 for `cpu` and 2.0 for `gpu`"


def test_what_is_locked_stays_until_it_is_upgraded(index: Index) -> None:
    index.add("a", "1.0", "b")
    index.add("b", "1.0")
    asked = {"default": ("a",)}
    locked = index.resolve(PythonRequest(asked)).packages
    index.add("a", "2.0", "b")
    index.add("b", "2.0")

    kept = index.resolve(PythonRequest(asked, previous=locked))
    one = index.resolve(PythonRequest(asked, previous=locked, upgrade=frozenset({"b"})))
    everything = index.resolve(PythonRequest(asked, previous=locked, upgrade=None))

    assert kept.packages == locked
    assert versions(one) == {"a": "1.0", "b": "2.0"}
    assert versions(everything) == {"a": "2.0", "b": "2.0"}


def test_a_locked_version_gives_way_where_a_new_requirement_needs_another(index: Index) -> None:
    index.add("a", "1.0")
    index.add("other", "1.0")
    locked = index.resolve(PythonRequest({"default": ("a", "other")})).packages
    index.add("a", "2.0")
    index.add("other", "2.0")
    index.add("new", "1.0", "a>=2")

    resolution = index.resolve(
        PythonRequest({"default": ("a", "new", "other")}, previous=locked, added={"default": ("new",)})
    )

    assert versions(resolution) == {"a": "2.0", "new": "1.0", "other": "1.0"}


def test_an_addition_asks_for_the_new_package_once_for_all_variants(index: Index) -> None:
    index.add("big", "1.0")
    index.add("small", "1.0", "big")
    asked = {"cpu": ("big",), "gpu": ("big",)}
    locked = index.resolve(PythonRequest(asked)).packages
    index.questions.clear()

    resolution = index.resolve(
        PythonRequest(
            dict.fromkeys(asked, ("big", "small")),
            previous=locked,
            added=dict.fromkeys(asked, ("small",)),
        )
    )

    assert [tuple(question.requirements) for question in index.questions] == [("small",)]
    assert tuple(index.questions[0].constraints) == ("big==1.0",)
    assert versions(resolution) == {"big": "1.0", "small": "1.0"}
    assert [artifact.project for artifact, _ in resolution.places] == ["small"]


def test_a_variant_that_cannot_be_had_is_told_and_the_others_stay(index: Index) -> None:
    index.add("a", "1.0")
    index.add("compiled", "1.0", tag="cp313-cp313-manylinux_2_17_aarch64")

    resolution = index.resolve(PythonRequest({"cpu": ("a",), "gpu": ("a", "compiled")}))

    assert versions(resolution) == {"a": "1.0"}
    assert resolution.packages[0].variants == ("cpu",)
    assert "compiled" in resolution.unavailable["gpu"]


def test_a_removal_keeps_the_rest_and_drops_what_nothing_needs(index: Index) -> None:
    index.add("a", "1.0", "below")
    index.add("b", "1.0")
    index.add("below", "1.0")
    locked = index.resolve(PythonRequest({"default": ("a", "b")})).packages
    index.add("b", "2.0")

    resolution = index.resolve(PythonRequest({"default": ("b",)}, previous=locked, only_removed=True))

    assert versions(resolution) == {"b": "1.0"}


def test_another_platforms_versions_are_preferred(index: Index) -> None:
    index.add("a", "1.0")
    index.add("a", "2.0")

    resolution = index.resolve(PythonRequest({"default": ("a",)}, elsewhere={"a": "1.0"}))

    assert versions(resolution) == {"a": "1.0"}
