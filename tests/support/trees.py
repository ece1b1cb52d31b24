"""Small trees of real programs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.host import lacking


def a_tree(folder: Path, programs: tuple[str, ...] = ("sh", "dd", "ln", "rm")) -> Path:
    """The least that a script needs: a shell, a few programs, and what they are linked with."""
    tree = folder / "tree"
    for path in ("dev", "proc", "run", "tmp", "usr/sbin", "var/lib/dpkg"):
        (tree / path).mkdir(parents=True)
    for name in programs:
        a_program(tree, name)
    return tree


def a_program(tree: Path, name: str) -> None:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        lacking(f"this host has no {name}")
    linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
    libraries = re.findall(r"(/\S+) \(0x", linked)
    for path in libraries:
        copy = tree / path.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for place in ("bin", "usr/bin"):
        (tree / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(found, tree / place / name)


def a_tree_for_containers(folder: Path) -> Path:
    """One in which a container engine runs a build's programs: these take Perl and tar."""
    tree = a_tree(
        folder, ("sh", "cat", "chmod", "chown", "grep", "id", "ls", "mknod", "perl", "rm", "sleep", "tar")
    )
    for perl in Path("/usr/lib").glob("*/perl-base"):
        shutil.copytree(perl, tree / perl.relative_to("/"), symlinks=True)
    (tree / "etc").mkdir()
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc/profile").write_text("profile\n")
    return tree
