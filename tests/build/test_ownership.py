from __future__ import annotations

from pathlib import Path

import pytest
from tests.layers.debs import directory, link, member, write_deb

from hotdesk.build.configure import OwnerChange
from hotdesk.build.ownership import read_ownership, settle_ownership, write_ownership
from hotdesk.build.unpack import SystemTree
from hotdesk.errors import StoreError
from hotdesk.layers.debian import Ownership


@pytest.fixture
def tree(tmp_path: Path) -> SystemTree:
    """A tree with users, a setuid program and a folder of mail."""
    (tmp_path / "tree").mkdir()
    tree = SystemTree(tmp_path / "tree")
    deb = write_deb(
        tmp_path / "a.deb",
        [
            member("./etc/passwd", b"root:x:0:0:::\nman:x:6:12:::\n"),
            member("./etc/group", b"root:x:0:\nmail:x:8:\nman:x:12:\n"),
            member("./usr/bin/su", b"x", mode=0o4755),
            directory("./var/mail/", 0o2775),
            member("./var/mail/box", b"x"),
            link("./var/spool", "/var/mail"),
        ],
    )
    tree.unpack(deb, "a")
    tree.finish()
    return tree


def change(*words: str, directory: str = "/") -> OwnerChange:
    return OwnerChange(words[0], directory, words[1:])


def test_the_packages_own_header_decides_and_the_disk_is_plain(tree: SystemTree) -> None:
    owners = settle_ownership(tree, [])

    assert owners["usr/bin/su"] == Ownership(0, 0, 0o4755)
    assert (Path(tree.root) / "usr/bin/su").stat().st_mode & 0o7777 == 0o755


def test_a_mode_that_a_script_changed_wins_and_leaves_the_disk(tree: SystemTree) -> None:
    (Path(tree.root) / "var/mail/box").chmod(0o4711)
    (Path(tree.root) / "made").mkdir()
    (Path(tree.root) / "made").chmod(0o1777)

    owners = settle_ownership(tree, [])

    assert owners["var/mail/box"].mode == 0o4711
    assert owners["made"] == Ownership(0, 0, 0o1777)
    assert (Path(tree.root) / "var/mail/box").stat().st_mode & 0o7777 == 0o711
    assert (Path(tree.root) / "made").stat().st_mode & 0o7777 == 0o777


@pytest.mark.parametrize(
    ("call", "path", "expected"),
    [
        (change("chown", "man", "/usr/bin/su"), "usr/bin/su", (6, 0)),
        (change("chown", "man:", "/usr/bin/su"), "usr/bin/su", (6, 12)),
        (change("chown", "root:mail", "/var/mail"), "var/mail", (0, 8)),
        (change("chown", "man.mail", "su", directory="/usr/bin"), "usr/bin/su", (6, 8)),
        (change("chown", ":12", "/usr/bin/su"), "usr/bin/su", (0, 12)),
        (change("chgrp", "mail", "/bin/su"), "usr/bin/su", (0, 8)),
        (change("chown", "-R", "man:man", "/var/mail"), "var/mail/box", (6, 12)),
        (change("chown", "man", "/var/mail"), "var/mail/box", (0, 0)),
        (change("chown", "man", "/var/spool/box"), "var/mail/box", (6, 0)),
        (change("chown", "man", "/var/spool"), "var/mail", (6, 0)),
        (change("chown", "-h", "man", "/var/spool"), "var/spool", (6, 0)),
        (change("chown", "nobody-knows", "/var/mail"), "var/mail", (0, 0)),
        (change("chown", "man", "/../../etc/passwd"), "etc/passwd", (6, 0)),
        (change("chown"), "var/mail", (0, 0)),
    ],
)
def test_a_script_that_changes_an_owner_is_believed(
    tree: SystemTree, call: OwnerChange, path: str, expected: tuple[int, int]
) -> None:
    owner = settle_ownership(tree, [call])[path]

    assert (owner.uid, owner.gid) == expected


def test_dpkgs_own_list_of_owners_is_believed(tree: SystemTree) -> None:
    (Path(tree.root) / "var/lib/dpkg").mkdir(parents=True)
    (Path(tree.root) / "var/lib/dpkg/statoverride").write_text("root mail 2755 /usr/bin/su\n")

    assert settle_ownership(tree, [])["usr/bin/su"] == Ownership(0, 8, 0o2755)


def test_only_what_the_disk_does_not_say_is_written(tree: SystemTree, tmp_path: Path) -> None:
    write_ownership(settle_ownership(tree, []), tmp_path)

    assert read_ownership(tmp_path) == {
        "usr/bin/su": Ownership(0, 0, 0o4755),
        "var/mail": Ownership(0, 0, 0o2775),
    }


def test_a_damaged_record_is_an_error_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "ownership.json").write_text("[[1]]")

    with pytest.raises(StoreError, match="damaged"):
        read_ownership(tmp_path)
