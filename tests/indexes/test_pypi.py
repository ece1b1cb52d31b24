from __future__ import annotations

import os
from pathlib import Path

import httpx2
import pytest

from hotdesk.errors import FetchError, IndexConfigurationError
from hotdesk.indexes.http import make_client
from hotdesk.indexes.pip import PipSettings
from hotdesk.indexes.pypi import IndexUrl, PythonIndexes, find_indexes, uv_settings

A, B = "a" * 64, "b" * 64


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """One in which nobody has configured uv."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wheels").mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none")}


def uv_toml(environment: dict[str, str], text: str) -> None:
    path = Path(environment["HOME"], ".config", "uv", "uv.toml")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (path.parent / "links").mkdir()  # uv wants all `find-links` to be there


def test_uvs_variables_are_followed_in_uvs_order(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {
        "UV_DEFAULT_INDEX": "https://default.example/simple",
        "UV_INDEX": "named=https://user:secret@first.example/simple https://second.example/simple",
        "UV_FIND_LINKS": f"{tmp_path}/wheels,https://links.example/all.html",
    }

    assert find_indexes(environment) == (
        IndexUrl("https://user:secret@first.example/simple"),
        IndexUrl("https://second.example/simple"),
        IndexUrl("https://default.example/simple"),
        IndexUrl((tmp_path / "wheels").as_uri(), "flat"),
        IndexUrl("https://links.example/all.html", "flat"),
    )


def test_uvs_file_is_followed(environment: dict[str, str]) -> None:
    uv_toml(environment, '[[index]]\nurl = "https://mine.example/simple"\ndefault = true\n')

    assert find_indexes(environment) == (IndexUrl("https://mine.example/simple"),)


FLAT = """
find-links = ["./links", "https://links.example/all.html"]
[[index]]
url = "https://mine.example/simple"
[[index]]
name = "page"
url = "https://me:secret@flat.example/page.html"
format = "flat"
[[index]]
url = "../flat"
format = "flat"
[[index]]
url = "wheels/simple"
default = true
"""


def test_flat_indexes_of_uvs_file_are_flat_and_its_paths_are_meant_from_its_folder(
    environment: dict[str, str], tmp_path: Path
) -> None:
    uv_toml(environment, FLAT)
    environment |= {"UV_INDEX_PAGE_USERNAME": "you", "UV_INDEX_PAGE_PASSWORD": "known"}
    folder = tmp_path / ".config" / "uv"

    assert find_indexes(environment) == (
        IndexUrl("https://mine.example/simple"),
        IndexUrl((folder / "wheels" / "simple").as_uri(), "simple"),
        IndexUrl("https://you:known@flat.example/page.html", "flat"),
        IndexUrl((tmp_path / ".config" / "flat").as_uri(), "flat"),
        IndexUrl((folder / "links").as_uri(), "flat"),
        IndexUrl("https://links.example/all.html", "flat"),
    )


def test_without_index_uvs_flat_indexes_are_none_either(environment: dict[str, str]) -> None:
    uv_toml(environment, FLAT)

    found = find_indexes(environment | {"UV_NO_INDEX": "1"})

    assert [index.url.rpartition("/")[2] for index in found] == ["links", "all.html"]


def test_the_project_one_happens_to_be_in_has_no_say(environment: dict[str, str], tmp_path: Path) -> None:
    before = find_indexes(environment)
    (tmp_path / "uv.toml").write_text('[[index]]\nurl = "https://project.example/simple"\ndefault = true\n')

    assert find_indexes(environment) == before


def test_uvs_default_is_uvs_to_say(environment: dict[str, str]) -> None:
    [index] = find_indexes(environment)

    assert index.kind == "simple"
    assert index.url.startswith("https://")


def test_without_index_only_find_links_count(environment: dict[str, str]) -> None:
    environment |= {"UV_NO_INDEX": "1"}
    with pytest.raises(IndexConfigurationError, match="no index for Python packages"):
        find_indexes(environment)

    environment |= {"UV_FIND_LINKS": "wheels"}
    assert find_indexes(environment) == (IndexUrl(Path("wheels").absolute().as_uri(), "flat"),)


@pytest.mark.parametrize("text", ["no toml", "x = " + "[" * 9999])
def test_a_broken_uv_toml_is_told_in_uvs_words(environment: dict[str, str], text: str) -> None:
    uv_toml(environment, text)

    with pytest.raises(IndexConfigurationError, match=r"(?s)uv cannot tell.*uv\.toml"):
        find_indexes(environment)


@pytest.mark.parametrize("url", ["https://me:secret@[index.example/simple", "https://me:se cret@host:x/"])
def test_a_malformed_index_is_told_without_its_password(environment: dict[str, str], url: str) -> None:
    environment["UV_DEFAULT_INDEX"] = url

    with pytest.raises(IndexConfigurationError) as caught:
        find_indexes(environment)

    assert "cret" not in str(caught.value)
    assert "cret" not in caught.value.why


PIP = PipSettings(
    index_url="https://main.example/simple",
    extra_index_urls=("file:///srv/simple", "https://extra.example/simple"),
    find_links=("wheels", "/nowhere/wheels", "file:///nowhere"),
)


def test_uv_sees_pips_indexes_where_it_has_none(environment: dict[str, str]) -> None:
    variables = uv_settings(PIP, environment)

    assert variables["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert find_indexes(environment | variables) == (
        IndexUrl("file:///srv/simple"),
        IndexUrl("https://extra.example/simple"),
        IndexUrl("https://main.example/simple"),
        IndexUrl(Path("wheels").absolute().as_uri(), "flat"),
    )


def test_extra_indexes_of_pip_join_uvs_default(environment: dict[str, str]) -> None:
    default = find_indexes(environment)

    variables = uv_settings(PipSettings(extra_index_urls=("file:///srv/simple",)), environment)

    assert find_indexes(environment | variables) == (IndexUrl("file:///srv/simple"), *default)


def test_uvs_own_indexes_win_over_pips(environment: dict[str, str]) -> None:
    assert uv_settings(PIP, environment | {"UV_INDEX": "https://uv.example/simple"}) == {}

    uv_toml(environment, '[[index]]\nurl = "https://mine.example/simple"\ndefault = true\n')
    assert uv_settings(PIP, environment) == {}


def test_uv_sees_the_certificates_and_proxy_that_pip_has(environment: dict[str, str]) -> None:
    settings = PipSettings(cert="/etc/ca.pem", proxy="http://proxy.example", trusted_hosts=("a.example",))

    assert uv_settings(settings, environment) == {
        "SSL_CERT_FILE": "/etc/ca.pem",
        "ALL_PROXY": "http://proxy.example",
        "UV_INSECURE_HOST": "a.example",
    }
    assert uv_settings(PipSettings(), environment | {"REQUESTS_CA_BUNDLE": "/b.pem"}) == {
        "SSL_CERT_FILE": "/b.pem"
    }
    environment |= {"SSL_CERT_FILE": "/own.pem", "https_proxy": "http://own.example", "UV_INSECURE_HOST": "b"}
    assert uv_settings(settings, environment) == {}


ONE, TWO = IndexUrl("https://one.example/simple/"), IndexUrl("https://two.example/simple")


def find(pages: dict[str, httpx2.Response], *indexes: IndexUrl, sha256: str = A) -> list[str]:
    """The locations of demo-1.whl where these pages are all there is."""

    def respond(request: httpx2.Request) -> httpx2.Response:
        return pages.get(str(request.url), httpx2.Response(404))

    with make_client(httpx2.MockTransport(respond)) as client:
        return list(PythonIndexes(client, indexes).locations("demo", "demo-1.whl", sha256))


def page(*links: str) -> httpx2.Response:
    return httpx2.Response(200, html="".join(f'<a href="{link}">x</a>' for link in links))


def test_every_index_that_has_the_file_is_told_in_order() -> None:
    pages = {
        "https://one.example/simple/demo/": page(f"demo-1.whl#sha256={A}", f"demo-2.whl#sha256={B}"),
        "https://two.example/simple/demo/": page(f"/files/demo-1.whl#sha256={A}"),
    }

    assert find(pages, TWO, ONE) == [
        "https://two.example/files/demo-1.whl",
        "https://one.example/simple/demo/demo-1.whl",
    ]


def test_a_file_of_the_same_name_with_another_hash_is_passed_over() -> None:
    pages = {
        "https://one.example/simple/demo/": page(f"demo-1.whl#sha256={B}"),
        "https://two.example/simple/demo/": page("demo-1.whl"),
    }

    assert find(pages, ONE, TWO) == ["https://two.example/simple/demo/demo-1.whl"]


def test_an_index_that_does_not_know_the_project_is_no_failure() -> None:
    assert find({}, ONE, TWO) == []


def test_an_index_that_cannot_be_asked_is_told_when_the_others_are_used_up() -> None:
    pages = {
        "https://one.example/simple/demo/": httpx2.Response(403),
        "https://two.example/simple/demo/": page("demo-1.whl"),
    }
    with make_client(httpx2.MockTransport(lambda request: pages[str(request.url)])) as client:
        found = PythonIndexes(client, (ONE, TWO)).locations("demo", "demo-1.whl", A)

        assert next(found) == "https://two.example/simple/demo/demo-1.whl"
        with pytest.raises(FetchError, match="access is denied"):
            next(found)


def test_a_page_that_is_no_index_is_told() -> None:
    pages = {"https://one.example/simple/demo/": httpx2.Response(200, json={"hello": "world"})}

    with pytest.raises(FetchError, match="not an index of Python packages"):
        find(pages, ONE)


def test_a_page_with_all_files_is_read_once() -> None:
    asked: list[str] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return page("demo-1.whl", "other-1.whl")

    with make_client(httpx2.MockTransport(respond)) as client:
        indexes = PythonIndexes(client, [IndexUrl("https://links.example/all.html", "flat")])
        assert list(indexes.locations("demo", "demo-1.whl")) == ["https://links.example/demo-1.whl"]
        assert list(indexes.locations("other", "other-1.whl")) == ["https://links.example/other-1.whl"]
    assert asked == ["https://links.example/all.html"]


def test_folders_are_indexes(tmp_path: Path) -> None:
    """With a page for a project, without one, and flat."""
    paged, bare, flat = tmp_path / "paged", tmp_path / "bare", tmp_path / "flat"
    (paged / "demo").mkdir(parents=True)
    (paged / "demo" / "index.html").write_text(f'<a href="../files/demo-1.whl#sha256={A}">x</a>')
    for folder in (bare / "demo", flat):
        folder.mkdir(parents=True)
        (folder / "demo-1.whl").write_text("")
    indexes = [IndexUrl(paged.as_uri()), IndexUrl(bare.as_uri()), IndexUrl(flat.as_uri(), "flat")]

    assert [url.replace("//localhost/", "///") for url in find({}, *indexes)] == [
        (paged / "files" / "demo-1.whl").as_uri(),
        (bare / "demo" / "demo-1.whl").as_uri(),
        (flat / "demo-1.whl").as_uri(),
    ]


def test_credentials_of_an_index_go_to_files_on_its_host_alone() -> None:
    pages = {
        "https://me:secret@one.example/simple/demo/": page("demo-1.whl", "https://files.example/demo-1.whl"),
    }
    index = IndexUrl("https://me:secret@one.example/simple")

    assert find(pages, index) == [
        "https://me:secret@one.example/simple/demo/demo-1.whl",
        "https://files.example/demo-1.whl",
    ]
