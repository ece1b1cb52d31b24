from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from hotdesk.errors import ResolveError
from hotdesk.indexes.debian_release import PackagesFile
from hotdesk.resolve.debian import locked_packages, resolve
from hotdesk.resolve.debian_universe import Universe

if TYPE_CHECKING:
    from pathlib import Path


class Choose(Protocol):
    def __call__(
        self, stanzas: list[str], *requests: str, prefer: dict[str, str] | None = None
    ) -> list[str]: ...


def stanza(name: str, version: str = "1", **fields: str) -> str:
    """An entry as a mirror has it; an underscore in a field's name stands for a hyphen."""
    lines = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Priority": "optional",
        "Filename": f"pool/main/{name}_{version}_amd64.deb",
        "Size": "7",
        "SHA256": "ab" * 32,
        **{key.replace("_", "-"): value for key, value in fields.items()},
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


@pytest.fixture
def chosen(tmp_path: Path) -> Choose:
    """Resolve requests among stanzas; the answer is `name=version` for each package."""

    def choose(stanzas: list[str], *requests: str, prefer: dict[str, str] | None = None) -> list[str]:
        path = tmp_path / "Packages"
        path.write_text("\n".join(stanzas) + "\n")
        universe = Universe([PackagesFile("debian", "trixie", path)])
        return [f"{one.name}={one.version}" for one in resolve(universe, requests, prefer)]

    return choose


def test_dependencies_come_along_and_recommendations_do_not(chosen: Choose) -> None:
    stanzas = [
        stanza("a", Depends="b", Pre_Depends="c", Recommends="d", Suggests="e"),
        *map(stanza, "bcde"),
    ]

    assert chosen(stanzas, "a") == ["a=1", "b=1", "c=1"]


def test_essential_packages_are_always_there(chosen: Choose) -> None:
    assert chosen([stanza("dpkg", Essential="yes", Depends="tar"), stanza("tar"), stanza("a")]) == [
        "dpkg=1",
        "tar=1",
    ]


def test_the_highest_version_is_chosen_or_the_one_asked_for(chosen: Choose) -> None:
    stanzas = [stanza("a", "1.9"), stanza("a", "1.10~rc1"), stanza("a", "1.10")]

    assert chosen(stanzas, "a") == ["a=1.10"]
    assert chosen(stanzas, "a=1.9") == ["a=1.9"]


def test_circular_dependencies_end(chosen: Choose) -> None:
    assert chosen([stanza("a", Depends="b"), stanza("b", Depends="a")], "a") == ["a=1", "b=1"]


def test_an_alternative_that_is_there_already_is_enough(chosen: Choose) -> None:
    stanzas = [stanza("a", Depends="x | y"), stanza("x"), stanza("y")]

    assert chosen(stanzas, "a") == ["a=1", "x=1"]
    assert chosen(stanzas, "a", "y") == ["a=1", "y=1"]


def test_an_alternative_that_cannot_be_had_is_passed_over(chosen: Choose) -> None:
    stanzas = [
        stanza("a", Depends="absent | broken | old (>= 2) | y"),
        stanza("broken", Depends="z, absent"),
        stanza("z"),
        stanza("old"),
        stanza("y"),
    ]

    assert chosen(stanzas, "a") == ["a=1", "y=1"]


def test_an_alternative_that_conflicts_is_passed_over(chosen: Choose) -> None:
    stanzas = [stanza("a", Depends="x | y"), stanza("x", Conflicts="b"), stanza("b"), stanza("y")]

    assert chosen(stanzas, "a", "b") == ["a=1", "b=1", "y=1"]


@pytest.mark.parametrize(
    ("needed", "expected"),
    [("awk", "mawk"), ("awk (>= 2)", "gawk"), ("awk:any", "gawk"), ("mawk:any | gawk", "gawk")],
)
def test_what_others_provide_counts_with_its_version_and_architecture(
    chosen: Choose, needed: str, expected: str
) -> None:
    stanzas = [
        stanza("a", Depends=needed),
        stanza("gawk", Provides="awk (= 2)", Multi_Arch="allowed"),
        stanza("mawk", Provides="awk", Priority="required"),
    ]

    assert chosen(stanzas, "a") == ["a=1", f"{expected}=1"]


def test_of_equal_providers_the_one_met_last_is_taken(chosen: Choose) -> None:
    stanzas = [
        stanza("a", Depends="mta", Suggests="exim"),
        stanza("postfix", Provides="mta"),
        stanza("exim", Provides="mta"),
    ]

    assert chosen(stanzas, "a") == ["a=1", "postfix=1"]


def test_a_virtual_package_with_one_provider_may_be_asked_for(chosen: Choose) -> None:
    assert chosen([stanza("mawk", Provides="awk")], "awk") == ["mawk=1"]


def test_unknown_names_are_all_in_one_error_with_what_was_meant(chosen: Choose) -> None:
    stanzas = [
        stanza("graphviz"),
        stanza("mawk", Provides="awk"),
        stanza("gawk", Provides="awk"),
        stanza("a"),
    ]

    with pytest.raises(ResolveError) as raised:
        chosen(stanzas, "graphvis", "zzzzzz", "awk", "a=2", "A b", "a")

    assert raised.value.what.splitlines()[1:] == [
        "  `graphvis` does not exist; did you mean `graphviz`?",
        "  `zzzzzz` does not exist",
        "  `awk` is not a package but what several provide; choose one of `gawk`, `mawk`",
        "  `a` has no version 2; there is 1",
        "  `A b` is not a package name, or a name with `=version`",
    ]


def test_a_dependency_that_nothing_satisfies_is_named(chosen: Choose) -> None:
    with pytest.raises(ResolveError) as raised:
        chosen([stanza("a", Depends="b (>= 2) | c"), stanza("b")], "a")

    assert raised.value.why == "`a` needs `b (>= 2) | c`"


@pytest.mark.parametrize("field", ["Conflicts", "Breaks"])
def test_packages_that_conflict_are_named(chosen: Choose, field: str) -> None:
    with pytest.raises(ResolveError) as raised:
        chosen([stanza("a", **{field: "b (<< 2)"}), stanza("b")], "a", "b")

    assert "`a` conflicts with `b` (b (<< 2))" in raised.value.why


def test_a_package_does_not_conflict_with_what_it_provides_itself(chosen: Choose) -> None:
    assert chosen([stanza("exim", Provides="mta", Conflicts="mta")], "exim") == ["exim=1"]


def test_a_locked_version_is_kept_while_it_is_offered(chosen: Choose) -> None:
    stanzas = [stanza("a", Depends="b"), stanza("b", "1"), stanza("b", "2")]

    assert chosen(stanzas, "a", prefer={"b": "1"}) == ["a=1", "b=1"]
    assert chosen(stanzas, "a", prefer={"b": "0.9", "gone": "1"}) == ["a=1", "b=2"]
    assert chosen(stanzas, "a", "b=2", prefer={"b": "1"}) == ["a=1", "b=2"]


def test_a_locked_version_that_is_in_the_way_is_let_go_alone(chosen: Choose) -> None:
    stanzas = [
        stanza("a", Depends="b (>= 2), c"),
        *(stanza(name, version) for name in "bc" for version in "12"),
    ]

    assert chosen(stanzas, "a", prefer={"b": "1", "c": "1"}) == ["a=1", "b=2", "c=1"]


def test_the_answer_does_not_depend_on_the_order_of_requests(chosen: Choose) -> None:
    stanzas = [stanza("a", Depends="x | y"), stanza("b", Depends="y | x"), stanza("x"), stanza("y")]

    assert chosen(stanzas, "a", "b") == chosen(stanzas, "b", "a")


def test_the_lock_holds_each_package_once_with_its_variants(tmp_path: Path) -> None:
    path = tmp_path / "Packages"
    path.write_text("\n".join([stanza("a"), stanza("b", Depends="a")]) + "\n")
    universe = Universe([PackagesFile("debian", "trixie", path)])

    locked = locked_packages({"cpu": resolve(universe, ["a"]), "gpu": resolve(universe, ["b"])})

    assert [(package.name, package.variants) for package in locked] == [
        ("a", ("cpu", "gpu")),
        ("b", ("gpu",)),
    ]
