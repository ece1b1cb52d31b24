"""Debian's scripts, real programs in a small tree: on a full disk, on a terminal, with odd certificates."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.host import lacking
from tests.support.terminal import on_a_terminal
from tests.support.trees import a_program, a_tree

from hotdesk.build.configure import configure, open_for_scripts
from hotdesk.build.dpkg import write_database
from hotdesk.build.unpack import Unpacked
from hotdesk.errors import ConfigureError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration

CONTROL = b"Package: filler\nVersion: 1\nArchitecture: all\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Eight megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def configured(
    tree: Path, packages: list[Unpacked], tools: Path, told: Callable[[int], None] = lambda _: None
) -> None:
    with open_for_scripts(tree) as inside:
        configure(inside, tree, packages, tools, told)


def run(disk: Path, preinst: str) -> None:
    package = Unpacked("filler", {"control": CONTROL, "preinst": f"#!/bin/sh\n{preinst}\n".encode()}, ())
    configured(a_tree(disk), [package], disk / "tools")


def test_a_full_disk_is_not_blamed_on_the_package(namespaces: None, disk: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full") as caught:
        run(disk, "dd if=/dev/zero of=/filler bs=1M")

    assert "No space left on device" in caught.value.why
    assert "HOTDESK_STORE" in caught.value.hint


def test_a_script_that_fails_is(namespaces: None, disk: Path) -> None:
    with pytest.raises(ConfigureError, match="`filler`") as caught:
        run(disk, "exit 3")

    assert "it ended with 3" in caught.value.why


def test_each_package_is_told_when_its_turn_comes(namespaces: None, tmp_path: Path) -> None:
    needed = ("dpkg-deb", "dpkg-split", "tar", "diff", "ldconfig", "start-stop-daemon")
    tree = a_tree(tmp_path, ("sh", "ln", "rm", "sleep", "dpkg", *needed))
    fields = b"Maintainer: a\nDescription: a\n"
    slow = {"postinst": b"#!/bin/sh\nsleep 0.5\n"}
    packages = [
        Unpacked(name, {"control": CONTROL.replace(b"filler", name.encode()) + fields, **slow}, ())
        for name in ("one", "two", "three")
    ]
    write_database(tree, packages)
    told: list[int] = []

    configured(tree, packages, tmp_path / "tools", told.append)

    assert told == [1, 1, 1]


def test_links_in_the_tree_do_not_lead_the_host_out_of_it(namespaces: None, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("chown\n/\nnot a number\n")
    tree = a_tree(tmp_path)
    (tree / "usr/sbin/policy-rc.d").symlink_to(outside / "made")
    (tree / "usr/sbin/update-ca-certificates").symlink_to(outside / "secret")
    script = f"""#!/bin/sh
        set -e
        test ! -e /run/hotdesk/update-ca-certificates
        rm /run/hotdesk/chown.log
        ln -s {outside}/secret /run/hotdesk/chown.log
        ln -s {outside} /kept
        echo done > /reached
        """
    package = Unpacked("filler", {"control": CONTROL, "preinst": script.encode()}, ())

    with suppress(ConfigureError):  # there is no dpkg in this tree
        configured(tree, [package], tmp_path / "tools")

    assert (tree / "reached").exists()
    assert [path.name for path in outside.iterdir()] == ["secret"]


_ON_A_TERMINAL = """
import sys
from pathlib import Path

from hotdesk.build.configure import configure, open_for_scripts
from hotdesk.build.unpack import Unpacked

tree, tools, preinst = map(Path, sys.argv[1:])
control = b"Package: filler\\nVersion: 1\\nArchitecture: all\\n"
package = Unpacked("filler", {"control": control, "preinst": preinst.read_bytes()}, ())
with open_for_scripts(tree) as inside:
    configure(inside, tree, [package], tools)
"""

_PERL = """#!/bin/sh
perl -e '
  open my $said, ">", "/said";
  print $said open(my $terminal, "+<", "/dev/tty") ? "a terminal\\n" : "no terminal\\n";
  for my $request (0x5412, 0x541C) { ioctl STDIN, $request, my $key = "x"; print $said $!+0, "\\n" }
'
"""


def test_scripts_have_no_terminal_and_cannot_type_into_one(namespaces: None, tmp_path: Path) -> None:
    tree = a_tree(tmp_path, ("sh", "ln", "rm"))
    add_perl(tree)
    (tmp_path / "preinst").write_text(_PERL)
    arguments = [str(tree), str(tmp_path / "tools"), str(tmp_path / "preinst")]

    on_a_terminal([sys.executable, "-c", _ON_A_TERMINAL, *arguments])

    assert (tree / "said").read_text().splitlines() == ["no terminal", *2 * [str(errno.EPERM)]]


def add_perl(tree: Path) -> None:
    """The interpreter, and the one module that our program in place of Debian's uses."""
    program = 'require strict; print $INC{"strict.pm"}'
    found = subprocess.run(["perl", "-e", program], capture_output=True, text=True, check=True).stdout
    a_program(tree, "perl")
    (tree / found.lstrip("/")).parent.mkdir(parents=True)
    shutil.copy(found, tree / found.lstrip("/"))


_PROGRAMS = (
    "basename", "cat", "chmod", "find", "ln", "mkdir", "mktemp", "mv", "openssl", "readlink", "rm",
    "run-parts", "sed", "sh", "sort", "test", "wc",
)  # fmt: skip
_LISTED = """\
# a comment
!mozilla/left-out.crt

mozilla/same.crt
other/same.crt
mozilla/Two words (and, more).crt
mozilla/empty.crt
mozilla/no-newline.crt
"""


@pytest.fixture
def authorities(namespaces: None, tmp_path: Path) -> Path:
    """A tree with Debian's own script, and certificates as odd as it takes them."""
    tree = a_tree(tmp_path, _PROGRAMS)
    add_perl(tree)
    script = Path("/usr/sbin/update-ca-certificates")
    if not script.exists():
        lacking("this host has no ca-certificates")
    shutil.copy(script, tree / "usr/sbin")
    shipped = tree / "usr/share/ca-certificates"
    for path in (
        shipped / "mozilla",
        shipped / "other",
        tree / "etc/ssl/certs",
        tree / "etc/ca-certificates",
    ):
        path.mkdir(parents=True)
    for name in [line for line in _LISTED.splitlines() if line.endswith(".crt") and line[0] != "!"]:
        (shipped / name).write_text(f"{name}\n")
    (shipped / "mozilla/empty.crt").write_text("")
    (shipped / "mozilla/no-newline.crt").write_text("its end")
    (tree / "etc/ca-certificates.conf").write_text(_LISTED)
    return tree


_BOTH = """
    set -e
    update-ca-certificates --hooksdir ''
    test -s /run/hotdesk/certificates.done
    {between}
    update-ca-certificates
    mkdir /debians
    /bin/sh -e /run/hotdesk/update-ca-certificates --hooksdir '' --etccertsdir /debians
    """


@pytest.mark.parametrize(
    "between",
    [
        "",
        "echo mozilla/late.crt > /usr/share/ca-certificates/mozilla/late.crt; "
        "echo mozilla/late.crt >> /etc/ca-certificates.conf",
        "mkdir -p /usr/local/share/ca-certificates; echo x > /usr/local/share/ca-certificates/mine.crt",
    ],
    ids=["as it comes", "another package lists one more", "another package adds a local one"],
)
def test_authorities_are_those_of_debians_script_whatever_is_listed(authorities: Path, between: str) -> None:
    package = Unpacked(
        "filler", {"control": CONTROL, "preinst": f"#!/bin/sh\n{_BOTH.format(between=between)}".encode()}, ()
    )

    with pytest.raises(ConfigureError, match="the base system") as caught:  # there is no dpkg in this tree
        configured(authorities, [package], authorities.parent / "tools")
    assert "dpkg: not found" in caught.value.why

    ours, debians = (
        {path.name: os.readlink(path) if path.is_symlink() else path.read_text() for path in folder.iterdir()}
        for folder in (authorities / "etc/ssl/certs", authorities / "debians")
    )
    assert ours == debians
    assert ours["same.pem"] == "/usr/share/ca-certificates/other/same.crt"
    assert "Two_words_=and__more=.pem" in ours
    assert ("mine.pem" in ours, "late.pem" in ours) == ("mine" in between, "late" in between)
