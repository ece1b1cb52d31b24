"""Files read out of an image that is not unpacked."""

from __future__ import annotations

import tarfile
from dataclasses import replace

import pytest
from tests.oci.images import archive, image, info, layer, tree

from hotdesk.errors import UnsafeArchiveError
from hotdesk.oci.files import read_files


def test_the_upper_layer_has_the_say() -> None:
    found = image(tree({"etc/a": b"old", "etc/b": b"kept"}), tree({"etc/a": b"new"}))

    assert read_files(found, ["etc/a", "etc/b", "etc/c"]) == {"etc/a": b"new", "etc/b": b"kept"}


@pytest.mark.parametrize(
    "upper", [{"etc/.wh.a": b""}, {"etc": b""}, {"etc/a": "/etc/shadow"}, {"etc/a": None, "etc/a/b": b"x"}]
)
def test_what_is_gone_or_no_file_is_not_there(upper: dict[str, bytes | str | None]) -> None:
    assert read_files(image(tree({"etc/a": b"old"}), tree(upper)), ["etc/a"]) == {}


def test_a_second_name_of_something_else_is_not_followed() -> None:
    lower = tree({"etc/a": b"old", "etc/b": b"other"})
    upper = archive(info("etc/a", tarfile.LNKTYPE, "etc/b"))

    assert read_files(image(lower, upper), ["etc/a"]) == {}


def test_a_layer_that_is_not_what_the_image_says_is_refused() -> None:
    good = layer(tree({"etc/a": b"old"}))
    lie = replace(good, diff_id=f"sha256:{'0' * 64}")

    with pytest.raises(UnsafeArchiveError, match="another diff ID"):
        read_files(image(lie), ["etc/a"])
