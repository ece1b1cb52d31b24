"""The order of layers only grows at its end."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from benchmarks.layers import NOT_WHEELS, edited, moved, random_edits, stack
from hypothesis import given
from hypothesis import strategies as st

from hotdesk.layers.plan import BIG, MOST, MOST_SMALL, fresh_plan, plan_layers
from hotdesk.lock import Artifact, PythonPackage
from hotdesk.oci.model import MOST_LAYERS
from hotdesk.project import read_template

MOST_SHARED = 15 * BIG
"""Bytes of the wheels that one bucket of the course's holds, at most."""
VARIANTS = [("cpu",), ("gpu",), ("cpu", "gpu")]


def package(name: str, size: int, variants: tuple[str, ...] = ("cpu", "gpu")) -> PythonPackage:
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return PythonPackage(name, "1.0", Artifact("pypi", name, f"{name}-1.0.whl", size, sha256), variants, -1)


packages = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}", fullmatch=True),
    st.tuples(st.integers(1, 5 * BIG), st.sampled_from(VARIANTS)),
    max_size=120,
).map(lambda found: [package(name, size, variants) for name, (size, variants) in found.items()])


def layers(planned: tuple[PythonPackage, ...]) -> dict[str, int]:
    return {one.name: one.layer for one in planned}


@given(packages)
def test_a_fresh_plan_has_few_layers_without_gaps(found: list[PythonPackage]) -> None:
    planned = plan_layers(found)

    assert {one.name for one in planned} == {one.name for one in found}
    assert sorted(set(layers(planned).values())) == list(range(len(set(layers(planned).values()))))
    assert len(set(layers(planned).values())) < MOST


@given(packages)
def test_a_layer_is_the_same_for_every_variant_that_has_it(found: list[PythonPackage]) -> None:
    held: dict[int, set[tuple[str, ...]]] = {}
    for one in plan_layers(found):
        held.setdefault(one.layer, set()).add(one.variants)

    assert all(len(variants) == 1 for variants in held.values())


@given(packages)
def test_the_plan_does_not_depend_on_the_order_of_the_packages(
    found: list[PythonPackage],
) -> None:
    shuffled = sorted(found, key=lambda one: hashlib.md5(one.name.encode()).digest())

    assert plan_layers(shuffled) == plan_layers(found)


@given(packages, packages)
def test_what_is_kept_keeps_its_layer_and_what_is_new_goes_on_top(
    before: list[PythonPackage], more: list[PythonPackage]
) -> None:
    first = plan_layers(before)
    known = layers(first)
    new = [one for one in more if one.name not in known]

    second = layers(plan_layers([*before, *new], first))

    top = max(known.values(), default=-1)
    assert not known or {name: second[name] for name in known} == known
    assert all(second[one.name] > top for one in new)


@given(packages)
def test_a_removed_package_leaves_its_layer_and_moves_no_other(before: list[PythonPackage]) -> None:
    first = plan_layers(before)
    kept = [one for number, one in enumerate(first) if number % 2]

    assert plan_layers(kept, first) == tuple(kept)


def test_two_local_versions_of_one_package_keep_their_layers() -> None:
    cpu, gpu = (replace(package("torch", 5 * BIG, (name,)), version=f"2.0+{name}") for name in ("cpu", "gpu"))
    planned = plan_layers([cpu, gpu, small("a")])

    assert plan_layers(planned, planned) == planned
    assert len({one.layer for one in planned}) == 3


def test_big_wheels_have_layers_of_their_own() -> None:
    planned = plan_layers([package("big", 5 * BIG), package("huge", 9 * BIG), *map(small, "abcdefgh")])

    alone = [one.layer for one in planned if one.name in ("big", "huge")]
    assert len(set(alone)) == 2
    assert not {one.layer for one in planned if one.name not in ("big", "huge")} & set(alone)


def small(name: str) -> PythonPackage:
    return package(name, 1000)


def test_what_every_variant_holds_comes_first() -> None:
    planned = plan_layers([package("gpu-only", 100, ("gpu",)), package("shared", 100)])

    assert [one.name for one in planned] == ["shared", "gpu-only"]


def test_layers_that_pile_up_are_folded() -> None:
    found: tuple[PythonPackage, ...] = ()
    most = 0
    for number in range(3 * MOST):
        found = plan_layers([*found, small(f"p{number}")], found)
        most = max(most, *layers(found).values())

    assert most < MOST


def test_a_plan_is_made_afresh_on_request() -> None:
    first = plan_layers([small("a")])
    grown = plan_layers([*first, small("b")], first)

    assert plan_layers(grown, grown, replan=True) == plan_layers([small("a"), small("b")])


def term1() -> tuple[PythonPackage, ...]:
    """What the committed lock of the course has, for all variants, with its layers."""
    return read_template("sdcnd-term1").read_fresh_lock().platforms["linux/amd64"].pypi


def test_small_packages_share_buckets_by_how_many_each_set_of_variants_has() -> None:
    planned = fresh_plan(term1())

    shared = {one.layer for one in planned if sum(other.layer == one.layer for other in planned) > 1}
    assert 4 <= len(shared) <= MOST_SMALL
    assert len({one.layer for one in planned if one.variants == ("cpu",)}) == 1


def test_every_image_of_the_course_has_few_layers() -> None:
    planned = fresh_plan(term1())

    for variant in ("cpu", "gpu"):
        held = {one.layer for one in planned if variant in one.variants}
        assert 20 < len(held) < 50


@pytest.mark.parametrize("number", range(20))
def test_an_edit_of_the_course_changes_one_layer_and_few_bytes(number: int) -> None:
    edit = random_edits(term1(), 20)[number]
    before = fresh_plan(term1())

    after = plan_layers(edited(before, edit), before)

    change = moved(stack(before), stack(after))
    assert change.layers <= 1
    assert len(stack(after)) + NOT_WHEELS <= MOST_LAYERS
    if edit.kind == "add":
        assert change.changed == change.above == edit.package.artifact.size
    else:
        assert change.changed <= edit.package.artifact.size + MOST_SHARED


def test_twenty_edits_one_after_another_move_little_beside_the_packages_themselves() -> None:
    now, beside, most = fresh_plan(term1()), [], 0
    for edit in random_edits(now, 20):
        if edit.package.name in {one.name for one in now}:
            later = plan_layers(edited(now, edit), now)
            own = 0 if edit.kind == "remove" else edit.package.artifact.size
            beside.append(moved(stack(now), stack(later)).changed - own)
            now, most = later, max(most, len(stack(later)))

    assert len(beside) >= 15
    assert most + NOT_WHEELS <= MOST_LAYERS
    assert sum(beside) / len(beside) < sum(one.artifact.size for one in now) / 500


def test_the_committed_plan_keeps_its_layers_through_edits() -> None:
    for edit in random_edits(term1(), 20):
        after = plan_layers(edited(term1(), edit), term1())

        known, kept = layers(term1()), layers(after)
        assert all(kept[name] == known[name] for name in kept if name in known)
