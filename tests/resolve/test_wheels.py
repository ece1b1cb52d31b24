"""A wheel is chosen for the desk, whatever hotdesk itself runs on."""

from __future__ import annotations

import pytest

from hotdesk.resolve.wheels import Target, best_wheel, supported_tags

TRIXIE = Target("linux/amd64", "debian:trixie")
BOOKWORM = Target("linux/amd64", "debian:bookworm")
ARM = Target("linux/arm64", "debian:trixie")


@pytest.mark.parametrize(
    ("target", "tags", "best"),
    [
        (TRIXIE, ["py3-none-any", "cp313-cp313-manylinux_2_17_x86_64"], "cp313-cp313-manylinux_2_17_x86_64"),
        (TRIXIE, ["cp37-abi3-manylinux_2_17_x86_64", "py3-none-any"], "cp37-abi3-manylinux_2_17_x86_64"),
        (
            TRIXIE,
            ["cp313-cp313-manylinux_2_17_x86_64", "cp313-cp313-manylinux_2_41_x86_64"],
            "cp313-cp313-manylinux_2_41_x86_64",
        ),
        (BOOKWORM, ["cp311-cp311-manylinux_2_39_x86_64", "py3-none-any"], "py3-none-any"),
        (BOOKWORM, ["cp313-cp313-manylinux_2_17_x86_64"], None),
        (TRIXIE, ["cp311-cp311-manylinux_2_17_x86_64"], None),
        (ARM, ["cp313-cp313-manylinux_2_17_x86_64", "py2.py3-none-any"], "py2.py3-none-any"),
        (ARM, ["cp313-cp313-manylinux2014_aarch64"], "cp313-cp313-manylinux2014_aarch64"),
        (TRIXIE, ["cp313-cp313-win_amd64", "cp313-cp313-musllinux_1_2_x86_64"], None),
        (TRIXIE, ["cp313-cp313t-manylinux_2_17_x86_64"], None),
        (TRIXIE, ["cp313-cp313-manylinux1_x86_64"], "cp313-cp313-manylinux1_x86_64"),
    ],
)
def test_the_wheel_that_fits_best_is_chosen(target: Target, tags: list[str], best: str | None) -> None:
    chosen = best_wheel([f"x-1.0-{tag}.whl" for tag in tags], target)

    assert chosen == (f"x-1.0-{best}.whl" if best else None)


def test_of_equal_wheels_the_newest_build_is_chosen() -> None:
    files = ["x-1.0-py3-none-any.whl", "x-1.0-2-py3-none-any.whl", "x-1.0-10-py3-none-any.whl"]

    assert best_wheel(files, TRIXIE) == "x-1.0-10-py3-none-any.whl"


def test_a_file_that_is_no_wheel_is_passed_over() -> None:
    assert best_wheel(["x-1.0.tar.gz", "rubbish.whl"], TRIXIE) is None


def test_the_tags_are_those_of_the_base_not_of_the_host() -> None:
    assert {tag.interpreter for tag in supported_tags(BOOKWORM)} >= {"cp311", "py3"}
    assert not any(tag.interpreter in ("cp312", "cp313") for tag in supported_tags(BOOKWORM))
