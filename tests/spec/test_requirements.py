"""Requirements are canonical, and never say where a package is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement as Reference
from packaging.utils import canonicalize_name

from hotdesk.spec.requirements import BadRequirementError, check_debian_name, parse_requirement


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("numpy", "numpy"),
        ("Flask_SocketIO", "flask-socketio"),
        ("numpy >= 1.26 , <3", "numpy<3,>=1.26"),
        ("tensorflow[and-cuda]", "tensorflow[and-cuda]"),
        ("x [B_c, a]==1.*", "x[a,b-c]==1.*"),
        ("decorator<5", "decorator<5"),
        ("a~=1.4", "a~=1.4"),
        ("a==1.0+cpu", "a==1.0+cpu"),
        ("a>=2 ;platform_machine=='x86_64'", 'a>=2; platform_machine == "x86_64"'),
        ('a; python_version<"3.12"', 'a; python_version < "3.12"'),
    ],
)
def test_two_spellings_have_one_canonical_text(written: str, canonical: str) -> None:
    assert parse_requirement(written).text == canonical
    assert parse_requirement(canonical).text == canonical


@pytest.mark.parametrize(
    "written",
    ["a @ https://example.org/a.whl", "./a", "/srv/a.whl", "git+https://example.org/a", "https://example.org/a",
     "file:///a.tar.gz", "a-1.0-py3-none-any.whl"],
)  # fmt: skip
def test_a_place_is_refused_with_the_reason(written: str) -> None:
    with pytest.raises(BadRequirementError, match="a lock names no host"):
        parse_requirement(written)


@pytest.mark.parametrize("written", ["", "a b", "a=1", "a==", "-r x", "a[", "==1", "a~=1", "a>1.*", "a;b"])
def test_what_is_no_requirement_is_refused(written: str) -> None:
    with pytest.raises(BadRequirementError):
        parse_requirement(written)


names = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,8}[a-z]", fullmatch=True)
clauses = st.lists(
    st.from_regex(r"(>=|<=|<|>|!=|==) ?[0-9]{1,3}(\.[0-9]{1,2}){0,2}", fullmatch=True),
    max_size=3,
    unique=True,
)


@given(names, st.lists(names, max_size=2), clauses)
def test_the_quick_reader_agrees_with_packaging(name: str, extras: list[str], limits: list[str]) -> None:
    written = name + (f"[{', '.join(extras)}]" if extras else "") + ", ".join(limits)

    parsed, reference = Reference(parse_requirement(written).text), Reference(written)

    assert canonicalize_name(parsed.name) == canonicalize_name(reference.name)
    assert parsed.specifier == reference.specifier
    assert parsed.extras == {canonicalize_name(extra) for extra in reference.extras}


@given(st.text(max_size=20))
def test_any_text_is_a_requirement_or_refused(text: str) -> None:
    try:
        canonical = parse_requirement(text).text
    except BadRequirementError:
        return
    assert parse_requirement(canonical).text == canonical


def test_names_of_debian_packages() -> None:
    assert check_debian_name("libglib2.0-0t64") == "libglib2.0-0t64"
    with pytest.raises(BadRequirementError, match="write `ffmpeg`"):
        check_debian_name("ffmpeg=7.1")
    with pytest.raises(BadRequirementError, match="did you mean `unzip`"):
        check_debian_name("Unzip")
