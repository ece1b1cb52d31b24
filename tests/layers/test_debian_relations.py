from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotdesk.layers.debian_relations import Relation, compare_versions, parse_relations, split_version

NAMES = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,12}", fullmatch=True)
VERSIONS = st.from_regex(r"([0-9]{1,2}:)?[0-9][A-Za-z0-9.+~]{0,6}(-[A-Za-z0-9.+~]{1,4})?", fullmatch=True)
LIMITS = st.one_of(st.just((None, "")), st.tuples(st.sampled_from(["<<", "<=", "=", ">=", ">>"]), VERSIONS))
RELATIONS = st.builds(
    lambda name, limit, architecture: Relation(name, limit[0], limit[1], architecture),
    NAMES,
    LIMITS,
    st.sampled_from(["", "any", "native", "amd64"]),
)
GROUPS = st.lists(st.lists(RELATIONS, min_size=1, max_size=3).map(tuple), max_size=4).map(tuple)


@settings(deadline=None)
@given(GROUPS)
def test_a_field_is_read_as_it_was_written(groups: tuple[tuple[Relation, ...], ...]) -> None:
    field = ", ".join(" | ".join(str(relation) for relation in group) for group in groups)

    assert parse_relations(field) == groups


@settings(deadline=None)
@given(GROUPS)
def test_blanks_and_line_ends_do_not_matter(groups: tuple[tuple[Relation, ...], ...]) -> None:
    field = ",\n ".join("|".join(str(relation).replace(" ", "") for relation in group) for group in groups)

    assert parse_relations(field) == groups


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        groups = parse_relations(text)
    except ValueError:
        return
    assert parse_relations(", ".join(" | ".join(map(str, group)) for group in groups)) == groups


@pytest.mark.parametrize("field", ["a (1.0)", "a (>= )", "a b", "a |", "| a", "a (>= 1) (<< 2)", "a:", "ä"])
def test_a_malformed_field_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match="not a relation"):
        parse_relations(field)


def test_the_old_single_signs_are_inclusive() -> None:
    assert parse_relations("a (< 1), b (> 1)") == ((Relation("a", "<=", "1"),), (Relation("b", ">=", "1"),))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0~rc1", "1.0"),
        ("1.0~~", "1.0~"),
        ("1.0", "1.0-1"),
        ("1.0-1", "1.0-1+b1"),
        ("1.9", "1.10"),
        ("9", "1:0"),
        ("1.0a", "1.0+"),
        ("2.41-12+deb13u1", "2.41-12+deb13u4"),
        ("1.15.6~", "1.15.6"),
        ("1-2-3", "1-3-1"),
    ],
)
def test_versions_are_ordered_as_policy_says(older: str, newer: str) -> None:
    assert (compare_versions(older, newer), compare_versions(newer, older)) == (-1, 1)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.0-0"), ("0:1", "1"), ("1.0", "1.00"), ("1.0-1", "01.0-1")]
)
def test_different_spellings_of_one_version_are_equal(one: str, other: str) -> None:
    assert compare_versions(one, other) == 0


@settings(deadline=None)
@given(VERSIONS, VERSIONS)
def test_the_operators_agree_with_the_order(one: str, other: str) -> None:
    order = compare_versions(one, other)

    accepted = {sign: Relation("a", sign, other).accepts(one) for sign in ("<<", "<=", "=", ">=", ">>")}

    assert compare_versions(other, one) == -order
    assert accepted == {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}


@settings(deadline=None)
@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_transitive(one: str, two: str, three: str) -> None:
    if compare_versions(one, two) <= 0 and compare_versions(two, three) <= 0:
        assert compare_versions(one, three) <= 0


def test_a_relation_with_a_limit_is_not_met_without_a_version() -> None:
    assert Relation("a").accepts("")
    assert not Relation("a", ">=", "1").accepts("")


@pytest.mark.parametrize("version", ["", "1 2", "a:1", "1/2", "1\n"])
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="not the version"):
        split_version(version)


@pytest.mark.integration
def test_dpkg_orders_versions_the_same_way() -> None:
    if not shutil.which("dpkg"):
        pytest.skip("this host has no dpkg to compare with")
    versions = [
        "0",
        "1",
        "1~",
        "1~a",
        "1+",
        "1.0",
        "1.0-0",
        "1-1",
        "1:0",
        "1.0a",
        "1.0.1",
        "1-1~bpo",
        "10",
        "1--1",
    ]
    pairs = [(one, other) for one in versions for other in versions]
    script = "\n".join(
        f"dpkg --compare-versions '{one}' lt '{other}' && echo -1 || "
        f"{{ dpkg --compare-versions '{one}' eq '{other}' && echo 0 || echo 1; }}"
        for one, other in pairs
    )

    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)

    theirs = dict(zip(pairs, map(int, done.stdout.split()), strict=True))
    assert {pair: compare_versions(*pair) for pair in pairs} == theirs
