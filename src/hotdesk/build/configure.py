"""Debian's own scripts, run by dpkg as an emulated root, the same way everywhere.

They see user 0, no network, empty `/run` and `/tmp`, and an environment in which nothing is the caller's.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

from hotdesk.build.inside import locate, read, write
from hotdesk.build.unpack import MTIME, control_fields
from hotdesk.engines.programs import Program, open_root
from hotdesk.errors import ConfigureError, HotdeskError, StoreError
from hotdesk.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hotdesk.build.unpack import Unpacked
    from hotdesk.engines.programs import Inside

ENVIRONMENT = {
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": "/run/hotdesk/bin:/usr/sbin:/usr/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "SHELL": "/bin/sh",
    "SOURCE_DATE_EPOCH": str(MTIME),
}

_FIRST = ("base-passwd", "base-files")
"""The users and the folders that the scripts of all others take for granted."""

_FULL = ("No space left on device", "Disk quota exceeded")
_STARTED = "hotdesk: started"
_SHOWN = 40
_FAILED = r"^dpkg: error processing (?:package |archive /run/hotdesk-debs/)(\S+?)(?:\.deb)? "

# Nobody is there to be asked, where an image's own configuration meets a newer package.
_KEEP_CONFFILES = "--force-confdef --force-confold"

# Pre-Depends are met by the order of the files: their packages are unpacked, and configured later.
_UNPACK = f"""umask 022
echo '{_STARTED}'
dpkg --force-unsafe-io --force-not-root --force-depends {_KEEP_CONFFILES} --abort-after=1 \\
  --auto-deconfigure --unpack $(cat /run/hotdesk/list) || exit 1
"""

_CHOWN = """#!/bin/sh
# The kernel's answer to chown is a pretence here; what was asked for is kept for the packages' ownership.
{ printf '%s\\n' "${0##*/}" "$PWD" "$#"; printf '%s\\n' "$@"; } >> /run/hotdesk/chown.log
exec "/usr/bin/${0##*/}" "$@"
"""

# Its postinst makes the bundle, then asks for a trigger that makes it again for the sake of the hooks.
# Debian's own script starts six processes for each of 140 authorities, a third of all the time that dpkg
# needs; this does the same in one, where it is the first to do it and nothing is out of the ordinary. What
# was listed then is kept: another package's script may list more before the trigger's turn comes.
_CERTIFICATES = r"""#!/usr/bin/perl
use strict;
my ($shipped, $local) = ('/usr/share/ca-certificates', '/usr/local/share/ca-certificates');
my ($certs, $bundle, $hooks) = ('/etc/ssl/certs', 'ca-certificates.crt', '/etc/ca-certificates/update.d');
my ($conf, $done) = ('/etc/ca-certificates.conf', '/run/hotdesk/certificates.done');
sub debian { exec '/bin/sh', '-e', '/run/hotdesk/update-ca-certificates', @ARGV or exit 1 }
sub has { my ($folder) = @_; opendir my $open, $folder or return 0; return grep { !/^\./ } readdir $open }
sub content { my ($file) = @_; open my $open, '<', $file or return ''; local $/; return scalar <$open> // '' }
chdir $certs or debian;
my $listed = content($conf);
debian if has($local) || $listed !~ /\n\z/;
if (-s $bundle) { @ARGV || has($hooks) || content($done) ne $listed ? debian : exit 0 }
debian if "@ARGV" !~ /^--hooksdir ( --fresh)?$/ || grep { -l $_ || /\.(pem|[0-9]+)$/ } has($certs);
my ($all, %link) = ('');
for my $line (grep { !/^([#!]|$)/ } split /\n/, $listed) {
  my $file = "$shipped/$line";
  debian if $line =~ /^\s|\s$/ || !-f $file;
  my $content = content($file);
  $all .= $content . ($content =~ /[^\n]\z/ ? "\n" : '');
  (my $name = $line) =~ s{.*/}{};
  $name =~ s/\.crt$//;
  $name =~ tr/ (),/_==_/;
  $link{"$name.pem"} = $file;
}
debian unless %link;
for my $name (sort keys %link) { symlink $link{$name}, $name or die "$name: $!\n" }
system('openssl', 'rehash', '.') == 0 or exit 1;
open my $new, '>', "$bundle.new" or die "$bundle: $!\n";
print $new $all;
close $new or die "$bundle: $!\n";
chmod 0644, "$bundle.new";
rename "$bundle.new", $bundle or die "$bundle: $!\n";
if (open my $kept, '>', $done) { print $kept $listed }
"""

# Bytecode is compiled afterwards, the same everywhere; Debian's scripts write their program's names to it.
# They start `py3compile` and this module.
_PY_COMPILE = "import sys\nsys.stdin.read() if '-' in sys.argv[1:] else None\n"

_NOTHING = "#!/bin/sh\nexit 0\n"

_POLICY = b"#!/bin/sh\nexit 101\n"
_POLICY_PATH = "usr/sbin/policy-rc.d"


@dataclass(frozen=True, slots=True)
class OwnerChange:
    """One call of chown or chgrp by a script: where, and with which arguments."""

    command: str
    directory: str
    arguments: tuple[str, ...]


@contextmanager
def open_for_scripts(tree: Path) -> Iterator[Inside]:
    """The root in which `configure` and `unpack_with_dpkg` work; `tree` is what they made once it is left."""
    with _no_services(tree), open_root(tree, changing=True) as inside:
        yield inside


def configure(
    inside: Inside,
    tree: Path,
    packages: Sequence[Unpacked],
    tools: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> list[OwnerChange]:
    """Run the scripts of `packages`, unpacked and registered in `tree`; returns what they tried to chown.

    `tools` is a folder to be made and removed, on a file system from which programs may be run. `advance` is
    told how many more packages were begun with, from another thread.
    """
    with _tools(tools, _script(packages)):
        covered = _replaced(tools, tree)
        for package in packages:
            if "preinst" in package.control:
                _write_control(package, tools / "control" / package.name)
        with _following(tools / "status", advance):
            return _run(inside, tools, covered)


def unpack_with_dpkg(inside: Inside, debs: Mapping[str, Path], tools: Path) -> list[OwnerChange]:
    """Let the dpkg inside unpack packages, over older ones perhaps; the rest is for `configure`.

    `debs` are the files by package, in an order in which each comes after those it needs to be unpacked.
    """
    with _tools(tools, _UNPACK):
        places = {f"/run/hotdesk-debs/{name}.deb": deb for name, deb in debs.items()}
        (tools / "list").write_text("".join(f"{place}\n" for place in places), encoding="ascii")
        return _run(inside, tools, places)


@contextmanager
def _no_services(tree: Path) -> Iterator[None]:
    """Debian's own way to say that nothing may be started."""
    ours = not os.path.lexists(locate(tree, _POLICY_PATH))
    if ours:
        write(tree, _POLICY_PATH, _POLICY, 0o755)
    yield
    if ours:
        locate(tree, _POLICY_PATH).unlink(missing_ok=True)


def _run(inside: Inside, tools: Path, shown: Mapping[str, Path]) -> list[OwnerChange]:
    """Run the script in `tools`; what it tried to chown."""
    program = Program(
        command=("/bin/sh", "/run/hotdesk/script"),
        environment=ENVIRONMENT,
        root=True,
        made={"/run/hotdesk": tools},
        shown=shown,
    )
    ended = inside.run(program)
    output = ended.said.decode("utf-8", "replace")
    if _STARTED not in output:
        raise inside.not_started(output.strip())
    if ended.status:
        raise _failure(output)
    return _owner_changes((read(tools, "chown.log") or b"").decode("utf-8", "surrogateescape"))


@contextmanager
def _following(status: Path, advance: Callable[[int], None]) -> Iterator[None]:
    """Tell what dpkg writes to the file `status` as it goes."""
    ended = Event()

    # Opened before a script can put a link in its place.
    reader = status.open("rb")

    def follow() -> None:
        told = 0
        last = False
        while not last:
            last = ended.wait(0.2)
            reader.seek(0)
            begun = reader.read().count(b"processing: configure: ")
            if begun > told:
                advance(begun - told)
            told = begun

    follower = Thread(target=follow)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
        reader.close()


@contextmanager
def _tools(tools: Path, script: str) -> Iterator[None]:
    """Make the folder `tools`, which appears at `/run/hotdesk`; it is removed at the end."""
    tools.mkdir()
    try:
        (tools / "bin").mkdir()
        for name, program in (("chown", _CHOWN), ("chgrp", _CHOWN), ("py3compile", _NOTHING)):
            (tools / "bin" / name).write_text(program, encoding="ascii")
            (tools / "bin" / name).chmod(0o755)
        (tools / "chown.log").touch()
        (tools / "status").touch()
        (tools / "script").write_text(script)
        yield
    finally:
        remove_tree(tools)


def _replaced(tools: Path, tree: Path) -> dict[str, Path]:
    """Our programs, by the paths of those of Debian's in whose place they are."""
    shown = {}
    script = read(tree, "usr/sbin/update-ca-certificates")
    if script is not None:
        (tools / "update-ca-certificates").write_bytes(script)
        (tools / "certificates").write_text(_CERTIFICATES)
        (tools / "certificates").chmod(0o755)
        shown["/usr/sbin/update-ca-certificates"] = tools / "certificates"
    (tools / "py_compile.py").write_text(_PY_COMPILE)
    for path in sorted(tree.glob("usr/lib/python3.*/py_compile.py")):
        shown[f"/{path.relative_to(tree)}"] = tools / "py_compile.py"
    return shown


def _write_control(package: Unpacked, folder: Path) -> None:
    """Where dpkg has a package's control files while it runs preinst, which debconf knows."""
    folder.mkdir(parents=True)
    for name, content in package.control.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)


def _script(packages: Sequence[Unpacked]) -> str:
    """Everything in one shell: each preinst, the users and folders, then all the rest.

    dpkg runs a preinst before it unpacks; here all is unpacked by then, which none may mind: on an upgrade
    they find the old files in the same places.
    """
    named = {package.name: package for package in packages}
    order = [named[name] for name in _FIRST if name in named]
    order += [package for name, package in sorted(named.items()) if name not in _FIRST]
    first = " ".join(name for name in _FIRST if name in named)
    # The first error is the last thing said, and what is wrong.
    options = f"--force-unsafe-io --force-not-root {_KEEP_CONFFILES} --abort-after=1"
    dpkg = f"5>>/run/hotdesk/status dpkg --status-fd 5 {options}"
    lines = [
        "umask 022",
        f"echo '{_STARTED}'",
        "(",
        "export DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 PERL_DL_NONLAZY=1",
        "preinst() {",
        "  export DPKG_MAINTSCRIPT_PACKAGE=$1 DPKG_MAINTSCRIPT_ARCH=$2 DPKG_MAINTSCRIPT_NAME=preinst",
        "  ln -s /run/hotdesk/control/$1 $DPKG_ADMINDIR/tmp.ci",
        "  $DPKG_ADMINDIR/tmp.ci/preinst install ||",
        '    { echo "dpkg: error processing package $1 (preinst): it ended with $?"; exit 1; }',
        "  rm $DPKG_ADMINDIR/tmp.ci",
        "}",
    ]
    for package in order:
        if "preinst" in package.control:
            architecture = control_fields(package.control["control"])["architecture"]
            lines.append(f"preinst {package.name} {architecture}")
    lines += [
        ") || exit 1",
        f"{dpkg} --force-depends --configure {first} || exit 1" if first else ":",
        f"{dpkg} --configure -a || exit 1",
        "",
    ]
    return "\n".join(lines)


def _failure(output: str) -> HotdeskError:
    for full in _FULL:
        if full in output:
            return StoreError(
                "the base system could not be configured: the disk is full",
                why=next(line for line in output.splitlines() if full in line),
                hint="free some space, with `hotdesk cache gc` among others, "
                "or set HOTDESK_STORE to another disk",
            )
    failed = re.findall(_FAILED, output, re.MULTILINE)
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(failed)) or "the base system"
    lines = [line for line in output.strip().splitlines() if line != _STARTED]
    return ConfigureError(
        f"{names} could not be configured",
        why="its own scripts failed; the end of what dpkg said:\n" + "\n".join(lines[-_SHOWN:]),
        hint="take the package off `debian` in `hotdesk.toml`, or lock another version of it",
    )


def _owner_changes(log: str) -> list[OwnerChange]:
    changes = []
    lines, at = log.split("\n")[:-1], 0
    while at < len(lines):
        try:
            command, directory, count = lines[at], lines[at + 1], int(lines[at + 2])
        except (IndexError, ValueError):
            raise ConfigureError(
                "the base system could not be configured",
                why="a script wrote to the record of what was chowned, which is hotdesk's own",
                hint="do not use that package or image; report it to those who published it",
            ) from None
        begin, at = at + 3, at + 3 + max(count, 1)  # printf writes one empty line for no arguments at all
        changes.append(OwnerChange(command, directory, tuple(lines[begin:at])))
    return changes
