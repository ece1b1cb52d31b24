from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.indexes.credentials import with_credentials, with_named_credentials

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://corp.example/simple"


def test_credentials_go_to_their_own_host_alone() -> None:
    index = "https://me:secret@one.example/simple"

    assert with_credentials("https://one.example/files/x", index) == "https://me:secret@one.example/files/x"
    for url in ("http://one.example/x", "https://one.example:444/x", "https://other.example/x"):
        assert with_credentials(url, index) == url


@pytest.mark.parametrize(
    ("login", "url"),
    [
        ({"USERNAME": "me", "PASSWORD": "secret"}, "https://me:secret@corp.example/simple"),
        ({"USERNAME": "a@b", "PASSWORD": "c:/?%"}, "https://a%40b:c%3A%2F%3F%25@corp.example/simple"),
        ({"USERNAME": "token"}, "https://token@corp.example/simple"),
        ({"PASSWORD": "secret"}, "https://:secret@corp.example/simple"),
        ({"USERNAME": ""}, URL),
    ],
)
def test_a_named_index_has_its_login_in_variables(login: dict[str, str], url: str) -> None:
    environment = {f"UV_INDEX_MY_CORP_{part}": value for part, value in login.items()}

    assert with_named_credentials(URL, environment | {"UV_DEFAULT_INDEX": f"my-corp={URL}/"}) == url
    assert with_named_credentials(URL, environment | {"UV_DEFAULT_INDEX": f"other={URL}"}) == URL
    assert with_named_credentials(URL, environment | {"UV_INDEX": URL}) == URL


def test_the_variables_win_over_the_address() -> None:
    environment = {"UV_INDEX": "b=https://b.example corp=https://old:er@corp.example/simple"}
    environment["UV_INDEX_CORP_USERNAME"] = "me"

    found = with_named_credentials("https://old:er@corp.example/simple", environment)

    assert found == "https://me@corp.example/simple"


@pytest.mark.parametrize("place", ["user", "system", "named"])
def test_the_name_may_stand_in_a_file_of_uvs(place: str, tmp_path: Path) -> None:
    user, system = tmp_path / "user" / "uv" / "uv.toml", tmp_path / "system" / "uv" / "uv.toml"
    named = tmp_path / "named.toml"
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "user"), "XDG_CONFIG_DIRS": str(tmp_path / "system")}
    environment["UV_INDEX_CORP_USERNAME"] = "me"
    if place == "named":
        environment["UV_CONFIG_FILE"] = str(named)
    file = {"user": user, "system": system, "named": named}[place]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[[index]]\nname = "corp"\nurl = "{URL}"\n[[index]]\nurl = "https://b.example"\n')

    assert with_named_credentials(URL, environment) == "https://me@corp.example/simple"
    assert with_named_credentials("https://b.example", environment) == "https://b.example"


@pytest.mark.parametrize(
    "odd", ['index = ["name url"]', "index = 3", '[index]\nname = "a"', "[[index]]\nname = 1\nurl = 2",
            "x = " + "[" * 9999,
            '[[index]]\nname = "a"\nurl = "https://["']
)  # fmt: skip
def test_what_is_no_index_in_a_file_of_uvs_is_for_uv_to_explain(odd: str, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text(odd)
    environment = {"UV_CONFIG_FILE": str(tmp_path / "odd.toml"), "UV_INDEX_CORP_USERNAME": "me"}

    assert with_named_credentials(URL, environment) == URL
