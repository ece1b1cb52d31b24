from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.errors import ResolveError
from hotdesk.indexes.debian_release import PackagesFile
from hotdesk.layers.debian_relations import Relation
from hotdesk.lock import Artifact
from hotdesk.resolve.debian_universe import Universe

if TYPE_CHECKING:
    from pathlib import Path


def stanza(name: str, version: str = "1", **fields: str) -> str:
    """An entry as a mirror has it; an underscore in a field's name stands for a hyphen."""
    lines = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Description": f"nothing about {name}",
        "Filename": f"pool/main/{name[0]}/{name}/{name}_{version}_amd64.deb",
        "Size": "7",
        "SHA256": "ab" * 32,
        **{key.replace("_", "-"): value for key, value in fields.items()},
    }
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def universe(folder: Path, *suites: list[str]) -> Universe:
    files = []
    for number, stanzas in enumerate(suites):
        path = folder / f"Packages-{number}"
        path.write_text("\n".join(stanzas) + "\n" if stanzas else "")
        files.append(PackagesFile("debian" if number == 0 else "debian-security", f"suite-{number}", path))
    return Universe(files)


def test_an_entry_is_read(tmp_path: Path) -> None:
    text = stanza(
        "hello",
        "2.10-5",
        Essential="yes",
        Priority="required",
        Multi_Arch="allowed",
        Pre_Depends="dpkg (>= 1.15.6~)",
        Depends="libc6,\n awk | mawk",
        Conflicts="bye",
        Breaks="old (<< 1)",
        Provides="greeting (= 2), word",
    )

    (found,) = universe(tmp_path, [text]).versions("hello")

    assert (found.version, found.essential, found.priority, found.multi_arch) == (
        "2.10-5",
        True,
        1,
        "allowed",
    )
    assert found.depends == (
        (Relation("dpkg", ">=", "1.15.6~"),),
        (Relation("libc6"),),
        (Relation("awk"), Relation("mawk")),
    )
    assert found.conflicts == (Relation("bye"), Relation("old", "<<", "1"))
    assert found.provides == (Relation("greeting", "=", "2"), Relation("word"))


def test_what_the_lock_holds_of_an_entry(tmp_path: Path) -> None:
    (found,) = universe(tmp_path, [stanza("hello")]).versions("hello")

    locked = found.locked(["cpu"])

    file = "pool/main/h/hello/hello_1_amd64.deb"
    assert locked.artifact == Artifact("debian", "debian", file, 7, "ab" * 32)
    assert (locked.name, locked.version, locked.architecture, locked.variants) == (
        "hello",
        "1",
        "amd64",
        ("cpu",),
    )


def test_versions_come_newest_first_from_all_suites(tmp_path: Path) -> None:
    offered = universe(tmp_path, [stanza("a", "1.9")], [stanza("a", "1.10"), stanza("a", "1.9")])

    assert [(one.version, one.archive) for one in offered.versions("a")] == [
        ("1.10", "debian-security"),
        ("1.9", "debian"),
    ]


def test_providers_and_essential_packages_are_known(tmp_path: Path) -> None:
    offered = universe(
        tmp_path,
        [
            stanza("mawk", Provides="awk", Essential="yes"),
            stanza("gawk", Provides="awk (= 1),\n grep"),
            stanza("b", Essential="no"),
        ],
    )

    assert offered.providers("awk") == ["gawk", "mawk"]
    assert offered.providers("grep") == ["gawk"]
    assert offered.providers("nothing") == []
    assert offered.essential() == ["mawk"]
    assert offered.names == ["b", "gawk", "mawk"]


def test_an_empty_suite_is_no_trouble(tmp_path: Path) -> None:
    assert universe(tmp_path, [stanza("a")], []).names == ["a"]


def test_a_name_is_first_mentioned_in_a_relation_not_in_prose(tmp_path: Path) -> None:
    offered = universe(
        tmp_path,
        [
            stanza("a", Description="unlike exim, it sends no mail", Depends="libexim"),
            stanza("b", Recommends="exim | postfix"),
            stanza("postfix"),
            stanza("exim"),
        ],
    )

    assert offered.first_mention("a") < offered.first_mention("exim") < offered.first_mention("postfix")
    assert offered.first_mention("postfix") < offered.first_mention("never-named")


@pytest.mark.parametrize(
    ("field", "value"), [("Depends", "a b"), ("Size", "many"), ("Provides", "(= 1)"), ("Conflicts", "a (1)")]
)
def test_an_entry_that_cannot_be_read_is_an_error(tmp_path: Path, field: str, value: str) -> None:
    offered = universe(tmp_path, [stanza("broken", **{field: value})])

    with pytest.raises(ResolveError, match="broken"):
        offered.versions("broken")


@pytest.mark.parametrize(
    ("relation", "multi_arch", "expected"),
    [
        (Relation("a"), "no", True),
        (Relation("a", architecture="any"), "no", False),
        (Relation("a", architecture="any"), "allowed", True),
        (Relation("a", architecture="native"), "no", True),
        (Relation("a", architecture="amd64"), "no", True),
        (Relation("a", architecture="i386"), "no", False),
        (Relation("a", ">=", "2"), "no", False),
        (Relation("virtual"), "no", True),
        (Relation("virtual", ">=", "1"), "no", False),
        (Relation("versioned", "=", "5"), "no", True),
        (Relation("versioned", "<<", "5"), "no", False),
    ],
)
def test_what_satisfies_a_relation(
    tmp_path: Path, relation: Relation, multi_arch: str, expected: bool
) -> None:
    text = stanza("a", "1", Multi_Arch=multi_arch, Provides="virtual, versioned (= 5)")
    (candidate,) = universe(tmp_path, [text]).versions("a")

    assert candidate.satisfies(relation) is expected
