from __future__ import annotations

import tarfile

import pytest
from tests.oci.images import archive, info, tree

from hotdesk.errors import UnsafeArchiveError
from hotdesk.oci.stack import Change, Stack
from hotdesk.oci.untar import members


def stacked(*layers: bytes) -> tuple[Stack, list[Change]]:
    stack, changes = Stack(), []
    for layer in layers:
        stack.begin()
        changes = [stack.add(header) for header, _ in members([layer])]
    return stack, changes


def held(*layers: bytes) -> dict[str, str]:
    stack, _ = stacked(*layers)
    return {node.header.path: node.header.kind for node in stack.nodes()}


def reason(*layers: bytes) -> str:
    with pytest.raises(UnsafeArchiveError) as caught:
        stacked(*layers)
    return caught.value.what.partition(": ")[2]


def test_a_later_layer_adds_and_replaces() -> None:
    assert held(tree({"a": b"", "d/x": b""}), tree({"a": "link", "d/y": b""})) == {
        "a": "link",
        "d": "directory",
        "d/x": "file",
        "d/y": "file",
    }


def test_a_marker_removes_what_is_below() -> None:
    assert held(tree({"d/x": b"", "d/y/z": b"", "e": b""}), tree({"d/.wh.y": b"", ".wh.e": b""})) == {
        "d": "directory",
        "d/x": "file",
    }


@pytest.mark.parametrize("order", [1, -1], ids=["marker first", "marker last"])
@pytest.mark.parametrize("marker", ["d/.wh..wh..opq", ".wh.d"])
def test_a_marker_spares_its_own_layer_in_whatever_order(marker: str, order: int) -> None:
    upper = dict([(marker, b""), ("d/new", b"")][::order])

    assert held(tree({"d/old": b"", "d/e/f": b""}), tree(upper)) == {"d": "directory", "d/new": "file"}


def test_a_marker_for_what_is_not_there_does_nothing() -> None:
    assert held(tree({".wh.x": b"", "a/b/.wh.c": b"", "a/b/.wh..wh..opq": b"", ".wh..wh.plnk": b""})) == {}


def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round() -> None:
    assert held(tree({"a/b/c": b"", "f": b""}), tree({"a": b"", "f": None, "f/g": b""})) == {
        "a": "file",
        "f": "directory",
        "f/g": "file",
    }


def test_the_changes_say_what_to_do_on_disk() -> None:
    _, (change, marker) = stacked(tree({"a/b": b"", "c": b""}), tree({"a": b"", ".wh.c": b""}))

    assert (change.removed, change.parents) == (("a",), ())
    assert (marker.removed, marker.node) == (("c",), None)
    _, (deep,) = stacked(tree({"x/y/z": b""}))
    assert deep.parents == ("x", "x/y")


def test_a_hard_link_is_another_name_of_what_is_there() -> None:
    stack, (_, change) = stacked(tree({"d/f": b"abc"}), archive(info("e"), info("g", tarfile.LNKTYPE, "d/f")))

    assert change.linked == "d/f"
    found = stack.find("g")
    assert found
    assert (found.header.kind, found.header.size) == ("file", 3)


def test_a_path_that_comes_twice_is_refused() -> None:
    twice = archive(info("a"), info("./a"))

    assert reason(twice) == "it holds a path twice"
    assert reason(tree({"d/x": b"", "d": b""})) == "it holds a path twice"
    assert reason(tree({"d": None, "./d/": None})) == "it holds a path twice"
    assert reason(tree({"d/x": b""}), tree({"d/y": b"", "d": "link"})) == "it holds a path twice"


def test_a_directory_may_be_named_after_what_is_in_it() -> None:
    assert held(tree({"d/x": b"", "d": None})) == {"d": "directory", "d/x": "file"}


@pytest.mark.parametrize("target", ["/etc", "../../etc", "real"])
def test_nothing_goes_through_a_link(target: str) -> None:
    link = tree({"real": None, "l": target})

    assert reason(link, tree({"l/passwd": b""})) == "a member is below a link"
    assert reason(link, tree({"l/.wh.passwd": b""})) == "a marker that removes files is below a link"
    assert reason(tree({"real": None, "l": target, "l/passwd": b""})) == "a member is below a link"
    hard = archive(info("h", tarfile.LNKTYPE, "l/passwd"))
    assert reason(link, hard) == "a hard link leads nowhere"


def test_nothing_is_below_a_file() -> None:
    assert reason(tree({"f": b""}), tree({"f/x": b""})) == "a member is below a file"


@pytest.mark.parametrize("target", ["nothing", "d", "h", "", "."])
def test_a_hard_link_to_nothing_is_refused(target: str) -> None:
    assert reason(archive(info("d", tarfile.DIRTYPE), info("h", tarfile.LNKTYPE, target))) == (
        "a hard link leads nowhere"
    )


def test_a_hard_link_to_what_it_replaces_is_refused() -> None:
    assert reason(tree({"d/f": b""}), archive(info("d", tarfile.LNKTYPE, "d/f"))) == (
        "a hard link leads nowhere"
    )


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh..."])
def test_a_marker_for_the_folder_above_is_refused(name: str) -> None:
    assert reason(tree({"d/x": b""}), tree({f"d/{name}": b""})) == (
        "a marker would remove what is outside of its folder"
    )


def test_a_marker_is_a_file() -> None:
    assert reason(tree({".wh.x": None})) == "a marker that removes files is no file"
    assert reason(tree({".wh.x/y": b""})) == "a name is a marker's"


def test_absurdly_many_paths_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hotdesk.oci.stack._MOST_PATHS", 100)

    def layer(count: int) -> bytes:
        return tree({f"a/b/c/d/e/f/g/h/i/j/{number}": b"" for number in range(count)})

    assert len(held(layer(90))) == 100
    assert reason(layer(91)) == "its image has too many paths"
