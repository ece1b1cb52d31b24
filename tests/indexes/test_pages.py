from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotdesk.indexes.http import Page
from hotdesk.indexes.pages import Link, links

A = "a" * 64
URL = "https://index.example/simple/pyasn1-modules/"

# As a public index wrote them in 2026, shortened, on other hosts.
JSON = """{"files": [{"filename": "pyasn1-modules-0.0.10.tar.gz", "hashes": {"sha256":
"3d86ab0fa226a60897c8123c505b3d0712e042990f061237799639f6fa742bf3"}, "requires-python": null, "size": 63543,
"upload-time": "2017-07-26T22:34:42.337122Z", "url":
"https://files.example/packages/e8/9f/pyasn1-modules-0.0.10.tar.gz", "yanked": false}, {"filename":
"pyasn1_modules-0.4.2-py3-none-any.whl", "hashes": {"sha256":
"29253a9207ce32b64c3ac6600edc75368f98473906e8fd1043bd6b5b1de2c14a"}, "requires-python": ">=3.8",
"size": 181259, "upload-time": "2025-03-28T02:41:19.028683Z", "url":
"https://files.example/packages/47/8d/pyasn1_modules-0.4.2-py3-none-any.whl", "yanked": false}],
"meta": {"api-version": "1.1", "_last-serial": "28216751"}, "name": "pyasn1-modules",
"versions": ["0.0.10", "0.4.2"]}"""
HTML = """<!DOCTYPE html>
<html>
<head><title>Links for pyasn1-modules</title></head>
<body>
<h1>Links for pyasn1-modules</h1>
<a href="https://files.example/packages/e8/9f/pyasn1-modules-0.0.10.tar.gz#sha256=\
3d86ab0fa226a60897c8123c505b3d0712e042990f061237799639f6fa742bf3">pyasn1-modules-0.0.10.tar.gz</a><br/>
<a href="https://files.example/packages/47/8d/pyasn1_modules-0.4.2-py3-none-any.whl#sha256=\
29253a9207ce32b64c3ac6600edc75368f98473906e8fd1043bd6b5b1de2c14a" data-requires-python="&gt;=3.8">\
pyasn1_modules-0.4.2-py3-none-any.whl</a><br/>
</body>
</html>"""
RECORDED = [
    Link(
        "pyasn1-modules-0.0.10.tar.gz",
        "https://files.example/packages/e8/9f/pyasn1-modules-0.0.10.tar.gz",
        "3d86ab0fa226a60897c8123c505b3d0712e042990f061237799639f6fa742bf3",
    ),
    Link(
        "pyasn1_modules-0.4.2-py3-none-any.whl",
        "https://files.example/packages/47/8d/pyasn1_modules-0.4.2-py3-none-any.whl",
        "29253a9207ce32b64c3ac6600edc75368f98473906e8fd1043bd6b5b1de2c14a",
    ),
]


def html(body: str, url: str = URL) -> Page:
    return Page(url, "text/html", body.encode())


def as_json(data: object, url: str = URL) -> Page:
    return Page(url, "application/vnd.pypi.simple.v1+json", json.dumps(data).encode())


@pytest.mark.parametrize(
    "page",
    [Page(URL, "application/vnd.pypi.simple.v1+json", JSON.encode()), html(HTML)],
    ids=["json", "html"],
)
def test_recorded_pages_offer_what_they_offered(page: Page) -> None:
    assert links(page) == RECORDED
    assert links(page, RECORDED[1].file) == [RECORDED[1]]
    assert links(page, "pyasn1_modules-0.4.2") == []


def test_relative_addresses_are_relative_to_the_page() -> None:
    assert links(html(f'<a href="../../files/x-1.whl#sha256={A}">x</a>')) == [
        Link("x-1.whl", "https://index.example/files/x-1.whl", A)
    ]
    data = {"files": [{"filename": "x-1.whl", "url": "../../files/x-1.whl", "hashes": {"sha256": A}}]}
    assert links(as_json(data)) == [Link("x-1.whl", "https://index.example/files/x-1.whl", A)]


def test_a_base_element_moves_what_is_relative() -> None:
    [link] = links(html('<base href="https://cdn.example/f/"><a href="x-1.whl">x</a>'))

    assert link.url == "https://cdn.example/f/x-1.whl"


def test_names_are_unquoted() -> None:
    [link] = links(
        html('<a href="torch-2.9%2Bcpu-cp313-none-any.whl">torch</a>'), "torch-2.9+cpu-cp313-none-any.whl"
    )

    assert link == Link("torch-2.9+cpu-cp313-none-any.whl", f"{URL}torch-2.9%2Bcpu-cp313-none-any.whl", "")


def test_other_hashes_are_no_sha256() -> None:
    page = html(f'<a href="x-1.whl#md5={"a" * 32}">x</a><a href="y-1.whl#sha512={A}{A}">y</a>')

    assert [link.sha256 for link in links(page)] == ["", ""]


def test_a_page_from_the_network_may_not_lead_to_local_files() -> None:
    assert links(html('<a href="file:///etc/passwd">x</a><a href="javascript:x-1.whl">y</a>')) == []
    assert links(as_json({"files": [{"filename": "x", "url": "file:///etc/passwd", "hashes": {}}]})) == []


def test_a_local_page_may_lead_to_local_files() -> None:
    page = html('<a href="../files/x-1.whl">x</a>', "file:///srv/simple/x/")

    assert [link.url for link in links(page)] == ["file:///srv/simple/files/x-1.whl"]


@pytest.mark.parametrize("data", [[], {}, {"files": 3}, {"files": [{}]}, {"files": ["x"]}, "x", None])
def test_json_that_is_no_index_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match="index page"):
        links(as_json(data))


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the message is the parser's)
        links(Page(URL, "application/json", b"<html>"))


MARKUP = st.text(alphabet=st.sampled_from("<>!-[]&#/=\"' abhref:x\0\n?;%CDATA"), max_size=200)


@settings(deadline=None)
@given(st.binary(max_size=200) | MARKUP.map(str.encode))
def test_no_page_does_worse_than_being_refused(body: bytes) -> None:
    for kind in ("text/html", "application/json"):
        try:
            found = links(Page(URL, kind, body))
        except ValueError:
            continue
        assert all(link.url.startswith(("http:", "https:")) for link in found)


HREF = st.text(max_size=40)


@settings(deadline=None)
@given(HREF, HREF)
def test_no_address_does_worse_than_being_left_out(base: str, href: str) -> None:
    data = {"files": [{"filename": "x", "url": href, "hashes": {"sha256": base}}]}
    for page in (html(f'<base href="{base}"><a href="{href}">x</a>'), as_json(data)):
        assert all(link.url.startswith(("http", "HTTP")) for link in links(page))


@settings(deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{1,8}-[0-9]{1,3}-py3-none-any\.whl", fullmatch=True), unique=True))
def test_every_file_of_a_page_is_found_in_its_order(names: list[str]) -> None:
    page = html("\n".join(f'<p><a class=x href="../{name}#sha256={A}">\n{name} </a>' for name in names))

    assert [link.file for link in links(page)] == names
