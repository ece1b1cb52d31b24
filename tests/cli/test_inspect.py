"""image and verify, as a user meets them; what they find is in tests/oci and tests/build."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from tests.oci.images import archive, image, info, layer, tree

from hotdesk.oci.layout import write_layout

if TYPE_CHECKING:
    from tests.support.commandline import Hotdesk

SITE = "opt/desk/lib/python3.13/site-packages"
ODD = tree({f"{SITE}/odd.py": b"x" * 3000, f"{SITE}/odd-1.0.dist-info/RECORD": b"odd.py,,\n"})
SOUND = image(ODD, tree({"etc/motd": b"hello"}))


def test_an_image_is_shown_by_layer_and_package(hotdesk: Hotdesk) -> None:
    write_layout([SOUND], hotdesk.folder / "desk.tar", "desk:latest")

    shown = hotdesk.run("image", "desk.tar")
    described = hotdesk.json("image", "desk.tar")

    assert SOUND.id in shown
    assert "odd 1.0" in shown
    assert [row["diff_id"] for row in described["layers"]] == [one.diff_id for one in SOUND.layers]
    packages = [[package["name"] for package in row["packages"]] for row in described["layers"]]
    assert packages == [["odd", None], [None]]


def test_an_image_is_drawn(hotdesk: Hotdesk) -> None:
    write_layout([SOUND], hotdesk.folder / "desk", "desk:latest")

    said = hotdesk.run("image", "desk", "--html", "desk.html")

    assert said == "drew desk into desk.html\n"
    assert "odd 1.0" in (hotdesk.folder / "desk.html").read_text()


def test_a_sound_image_is_verified(hotdesk: Hotdesk) -> None:
    write_layout([SOUND], hotdesk.folder / "desk.tar", "desk:latest")

    shown = hotdesk.run("verify", "desk.tar")

    assert shown.splitlines()[0].startswith(f"ok    {SOUND.id}")
    assert "no lock is known" in shown
    assert hotdesk.json("verify", "desk.tar") == {
        "id": SOUND.id,
        "manifest": SOUND.manifest.descriptor.digest,
        "problems": [],
        "differences": None,
        "compared": 0,
    }


def test_what_is_wrong_with_an_image_is_told(hotdesk: Hotdesk) -> None:
    hostile = archive(info("../../etc/passwd"))
    write_layout([image(ODD, layer(ODD, gzip.compress(hostile)))], hotdesk.folder / "bad.tar", "bad:latest")

    done = hotdesk.try_("verify", "bad.tar")

    assert done.returncode == 1
    assert done.stdout.startswith("FAIL")
    assert "layer 2" in done.stdout
    assert "outside of its tree" in done.stdout
    refused = hotdesk.try_("image", "bad.tar")
    assert refused.returncode == 1
    assert "not what it claims to be" in refused.stderr


def test_a_file_that_is_no_image_is_explained(hotdesk: Hotdesk) -> None:
    (hotdesk.folder / "notes.txt").write_text("not an image " * 100)

    for command in ("image", "verify", "up"):
        done = hotdesk.try_(command, "notes.txt")
        assert done.returncode == 1
        assert "no image that can be read" in done.stderr
        assert "hint:" in done.stderr


def test_a_variant_needs_a_lock(hotdesk: Hotdesk) -> None:
    write_layout([SOUND], hotdesk.folder / "desk.tar", "desk:latest")

    assert hotdesk.try_("verify", "desk.tar", "--variant", "gpu").returncode == 2
    assert hotdesk.try_("up", "desk.tar", "--variant", "gpu").returncode == 2
