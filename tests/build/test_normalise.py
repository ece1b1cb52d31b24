from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.build.normalise import normalise, settle_times
from hotdesk.build.unpack import MTIME
from hotdesk.engines.request import MOUNT_POINTS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("etc", "run", "tmp", "var/log", "var/cache/fontconfig", "var/lib/dpkg"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text("root:x:0:0:::\n")
    (tmp_path / "etc/shadow").write_text("root:*:20415:0:99999:7:::\n")
    return tmp_path


def test_what_a_run_leaves_is_gone(root: Path) -> None:
    leftovers = [
        "etc/passwd-",
        "run/x",
        "tmp/x",
        "var/log/dpkg.log",
        "var/cache/fontconfig/x",
        "etc/.pwd.lock",
    ]
    leftovers += ["var/lib/dpkg/status-old", "var/lib/dpkg/lock", "etc/.pwd.lock"]
    for name in leftovers:
        (root / name).write_text("x")
    (root / "var/log/wtmp").touch()
    (root / "etc/machine-id").write_text("0123456789abcdef\n")

    normalise(root)

    assert [name for name in leftovers if (root / name).exists()] == []
    assert (root / "var/log/wtmp").exists()
    assert (root / "etc/machine-id").read_bytes() == b""


def test_a_link_among_the_leftovers_is_removed_and_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (root / "run/link").symlink_to(outside)

    normalise(root)

    assert not (root / "run/link").is_symlink()
    assert (outside / "file").exists()


def test_the_day_is_not_in_shadow(root: Path) -> None:
    normalise(root)

    assert (root / "etc/shadow").read_text() == "root:*:3652:0:99999:7:::\ndesk:!:3652:0:99999:7:::\n"


def test_a_desk_finds_its_user_and_the_sandbox_its_places(root: Path) -> None:
    normalise(root)

    assert "desk:x:1000:1000::/home/desk:/bin/bash\n" in (root / "etc/passwd").read_text()
    assert [point for point in MOUNT_POINTS if not (root / point).exists()] == []
    assert (root / "etc/resolv.conf").read_bytes() == b""


def test_doing_it_twice_changes_nothing(root: Path) -> None:
    normalise(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}

    normalise(root)

    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_everything_has_the_one_time(root: Path) -> None:
    (root / "etc/link").symlink_to("nowhere")

    settle_times(root)

    assert {path.lstat().st_mtime for path in (root, *root.rglob("*"))} == {MTIME}
