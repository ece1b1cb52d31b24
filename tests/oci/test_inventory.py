from __future__ import annotations

import pytest
from tests.oci.images import image, layer, tree

from hotdesk.errors import ImageError
from hotdesk.oci.inventory import Holding, Package, own_inventory, take_inventory

SITE = "opt/desk/lib/python3.13/site-packages"
RECORD = b'odd/__init__.py,,\n../../../bin/odd,,\n"odd-1.0.dist-info/RECORD",,\n'
PYTHON = tree(
    {
        f"{SITE}/odd/__init__.py": b"x" * 100,
        f"{SITE}/odd/__pycache__/__init__.cpython-313.pyc": b"y" * 50,
        "opt/desk/bin/odd": b"z" * 10,
        f"{SITE}/odd-1.0.dist-info/RECORD": RECORD,
        "opt/desk/pyvenv.cfg": b"nobody's",
    }
)
DEBIAN = tree(
    {
        "usr/bin/true": b"t" * 30,
        "usr/share/doc/true": b"d",
        "var/lib/dpkg/info/true:amd64.list": b"/.\n/bin/true\n/usr/share/doc/true\n",
        "var/lib/dpkg/status": b"Package: true\nVersion: 2-1\n\nPackage: other\nVersion: 3\n",
    }
)


def test_files_are_their_packages() -> None:
    base, python = take_inventory(image(DEBIAN, PYTHON))

    assert Holding(Package("debian", "true", "2-1"), 2, 31) in base.holdings
    assert Holding(Package("python", "odd", "1.0"), 4, 100 + 50 + 10 + len(RECORD)) in python.holdings
    assert Holding(Package("", ""), 1, 8) in python.holdings
    assert [str(holding.package) for holding in python.holdings] == ["odd 1.0", "files of no package"]
    assert base.tar_size == len(DEBIAN)


def test_an_image_that_was_built_here_is_read_from_its_recipes() -> None:
    held = image(DEBIAN, PYTHON)

    assert own_inventory(held) == take_inventory(held)


def test_lists_that_are_rubbish_give_nobody_anything() -> None:
    rubbish = tree(
        {f"{SITE}/odd-1.0.dist-info/RECORD": b'"\0\xff,\n' * 100, "var/lib/dpkg/info/x.list": b"\xff"}
    )

    (found,) = take_inventory(image(rubbish))

    assert sum(holding.files for holding in found.holdings) == 2


def test_an_image_that_lies_is_refused() -> None:
    good = layer(PYTHON)

    with pytest.raises(ImageError, match="not what it claims"):
        take_inventory(image(layer(DEBIAN, b"".join(good.blob.chunks()))))
