"""Logins as Docker and Podman leave them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from hotdesk.oci.registry.logins import Login, find_login

if TYPE_CHECKING:
    from pathlib import Path

HOST = "registry.example"


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


class Home:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")}

    def write(self, place: str, content: object) -> Path:
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def docker(self, **content: Any) -> Path:
        return self.write(".docker/config.json", content)

    def find(self, repository: str = "team/desk") -> Login | None:
        return find_login(HOST, repository, self.environment).login

    def user(self, repository: str = "team/desk") -> str:
        login = self.find(repository)
        return login.user if login else ""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def helper(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_nothing_is_stored(home: Home) -> None:
    assert find_login(HOST, "desk", home.environment).problems == ()
    assert home.find() is None


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/", f"http://{HOST}/v2/"])
def test_a_login_of_docker(home: Home, key: str) -> None:
    path = home.docker(auths={key: auth("ada", "a:b ö")})

    assert home.find() == Login(str(path), "ada", "a:b ö")


@pytest.mark.parametrize(
    "key", ["example", f"other.{HOST}", f"{HOST}:5000", f"{HOST}.evil.example", "https://"]
)
def test_a_login_for_another_host_is_not_sent(home: Home, key: str) -> None:
    home.docker(auths={key: auth("ada", "secret")})

    assert home.find() is None


def test_the_login_for_a_repository_wins_over_that_of_its_host(home: Home) -> None:
    home.write(
        "run/containers/auth.json",
        {
            "auths": {
                HOST: auth("host", "1"),
                f"{HOST}/team": auth("team", "2"),
                f"{HOST}/team/desk": auth("desk", "3"),
            }
        },
    )

    assert home.user("other") == home.user("teamwork/x") == "host"
    assert home.user("team/other") == "team"
    assert home.user("team/desk") == home.user("team/desk/x") == "desk"


def test_the_first_file_that_has_a_login_decides(home: Home) -> None:
    home.write(".config/containers/auth.json", {"auths": {HOST: auth("config", "1")}})
    assert home.user() == "config"
    home.write("run/containers/auth.json", {"auths": {HOST: auth("runtime", "1")}})
    assert home.user() == "runtime"
    home.docker(auths={HOST: auth("docker", "1")})
    assert home.user() == "docker"
    home.environment["REGISTRY_AUTH_FILE"] = str(home.write("named", {"auths": {HOST: auth("named", "1")}}))
    assert home.user() == "named"


def test_docker_config_names_a_folder(home: Home) -> None:
    home.write("elsewhere/config.json", {"auths": {HOST: auth("ada", "1")}})
    home.environment["DOCKER_CONFIG"] = str(home.folder / "elsewhere")

    assert home.user() == "ada"


def test_an_identity_token(home: Home) -> None:
    path = home.docker(auths={HOST: auth("0", "") | {"identitytoken": "long"}})

    assert home.find() == Login(str(path), identity_token="long")


def test_an_empty_entry_is_no_login(home: Home) -> None:
    home.docker(auths={HOST: {}})

    assert home.find() is None


def test_a_secret_is_not_shown(home: Home) -> None:
    home.docker(auths={HOST: auth("ada", "my secret")})

    assert "my secret" not in repr(home.find())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"auths": []}', '{"auths": {"registry.example": 1}}', "[" * 99999]
)
def test_a_damaged_file_is_passed_over(home: Home, text: str) -> None:
    home.write(".docker/config.json", text)
    home.write(".config/containers/auth.json", {"auths": {HOST: auth("ada", "1")}})

    assert home.user() == "ada"


@pytest.mark.parametrize("encoded", ["not base64!", "/////w==", base64.b64encode(b"nocolon").decode()])
def test_a_damaged_entry_is_told(home: Home, encoded: str) -> None:
    home.docker(auths={HOST: {"auth": encoded}})

    found = find_login(HOST, "desk", home.environment)

    assert found.login is None
    assert "config.json cannot be read" in found.problems[0]


def test_a_helper_for_the_host_is_asked_first(home: Home, helpers: Path) -> None:
    helper(helpers, "one", f"""test "$(cat)" = {HOST} && echo '{{"Username": "one", "Secret": "1"}}'""")
    helper(helpers, "all", """echo '{"Username": "all", "Secret": "2"}'""")
    home.docker(credHelpers={HOST: "one"}, credsStore="all", auths={HOST: auth("stored", "3")})

    assert home.find() == Login("`docker-credential-one`", "one", "1")


def test_the_helper_for_all_hosts(home: Home, helpers: Path) -> None:
    helper(helpers, "all", """test $1 = get && echo '{"Username": "<token>", "Secret": "long"}'""")
    home.docker(credHelpers={"other.example": "one"}, credsStore="all")

    assert home.find() == Login("`docker-credential-all`", identity_token="long")


def test_a_helper_that_knows_nothing_leaves_it_to_what_is_stored(home: Home, helpers: Path) -> None:
    helper(helpers, "all", "echo 'credentials not found in native keychain'; exit 1")
    home.docker(credsStore="all", auths={HOST: auth("stored", "3")})

    assert home.user() == "stored"


@pytest.mark.parametrize("script", ["echo broken; exit 3", "echo 'no JSON'", "echo '[]'", "kill -9 $$"])
def test_a_broken_helper_is_told_where_no_login_is_found(home: Home, helpers: Path, script: str) -> None:
    helper(helpers, "all", script)
    home.docker(credsStore="all")

    found = find_login(HOST, "desk", home.environment)

    assert found.login is None
    assert script == "echo '[]'" or "docker-credential-all" in found.problems[0]


def test_a_helper_that_is_not_there_is_told(home: Home, helpers: Path) -> None:
    home.docker(credsStore="absent")

    assert "no such program" in find_login(HOST, "desk", home.environment).problems[0]


@pytest.mark.parametrize("name", ["../evil", "a b", "-x", ""])
def test_a_helper_is_a_name_and_no_path(home: Home, helpers: Path, name: str) -> None:
    home.docker(credsStore=name, auths={HOST: auth("stored", "3")})

    assert home.user() == "stored"
