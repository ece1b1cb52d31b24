from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from hotdesk.engines.client import DOCKER, Client
from hotdesk.engines.containers import accounts, run_arguments, with_caller
from hotdesk.engines.host import Host
from hotdesk.engines.request import ContainerRequest, Limits, LoadedImage
from hotdesk.errors import EngineError

IMAGE = LoadedImage("docker", "sha256:" + "a" * 64)
REQUEST = ContainerRequest(
    image=IMAGE,
    name="hotdesk-term1",
    command=("jupyter", "lab"),
    home=Path("/data/home"),
    project=Path("/home/ann/project"),
    hostname="term1",
    ports={8899: 8888},
)
HOST = Host(memory=8 << 30, time_zone="Europe/Berlin", environment={"http_proxy": "http://me:secret@proxy"})
ANN = (1234, 5678)


def arguments(request: ContainerRequest = REQUEST, host: Host = HOST, **files: Path) -> list[str]:
    return run_arguments(request, host, ANN, files={f"/run/{name}": path for name, path in files.items()})


def options(request: ContainerRequest = REQUEST, host: Host = HOST, **files: Path) -> list[str]:
    """What comes before the image, whose own words are the program's and not the engine's."""
    words = arguments(request, host, **files)
    return words[: words.index(IMAGE.id)]


def values(name: str, words: list[str]) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == name]


def mounts(words: list[str]) -> dict[str, str]:
    """What is mounted, by its place inside."""
    rows = [next(csv.reader([value])) for value in values("--mount", words)]
    fields = [dict(field.partition("=")[::2] for field in row) for row in rows]
    return {row["target"]: row.get("source", row["type"]) for row in fields}


def test_the_port_is_published_on_the_loopback_only() -> None:
    assert values("--publish", options()) == ["127.0.0.1:8899:8888"]
    assert values("--publish", options(replace(REQUEST, ports={}))) == []
    several = options(replace(REQUEST, ports={8899: 8888, 4568: 4567}))
    assert values("--publish", several) == ["127.0.0.1:8899:8888", "127.0.0.1:4568:4567"]


def test_nothing_of_the_hosts_power_is_left() -> None:
    words = options()

    assert values("--cap-drop", words) == ["ALL"]
    assert "no-new-privileges" in values("--security-opt", words)
    assert "--read-only" in words
    assert "--init" in words
    assert not {"--privileged", "--cap-add", "--device", "--volume", "--pid", "--ipc"} & set(words)
    assert values("--network", words) == []


def test_no_image_is_ever_pulled() -> None:
    assert values("--pull", options()) == ["never"]


def test_home_and_project_are_mounted_and_nothing_else() -> None:
    assert mounts(options()) == {"/home/desk": "/data/home", "/home/desk/work": "/home/ann/project"}
    assert mounts(options(replace(REQUEST, project=None))) == {"/home/desk": "/data/home"}


def test_files_are_mounted_read_only() -> None:
    words = options(settings=Path("/data/inside/settings"))

    assert mounts(words)["/run/settings"] == "/data/inside/settings"
    (row,) = [value for value in values("--mount", words) if "settings" in value]
    assert row.endswith(",readonly")


@pytest.mark.parametrize("path", ["/home/ann/a, b", '/home/ann/"quoted"', "/home/ann/a:b", "/home/ann/ä b"])
def test_whatever_the_project_is_called_it_is_mounted(path: str) -> None:
    assert mounts(options(replace(REQUEST, project=Path(path))))["/home/desk/work"] == path


def test_what_it_does_on_the_host_is_done_by_the_caller() -> None:
    assert values("--user", options()) == ["1234:5678"]
    assert values("--userns", options()) == ["host"]


def test_no_value_of_the_callers_variables_shows_in_a_process_list() -> None:
    words = arguments()

    assert "http_proxy" in values("--env", words)
    assert "TZ=Europe/Berlin" in values("--env", words)
    assert not [word for word in words if "secret" in word]


def test_limits_are_the_engines_where_there_are_any() -> None:
    limited = options(replace(REQUEST, limits=Limits(memory=2 << 30, processors=1.5)))

    assert (values("--memory", limited), values("--cpus", limited)) == ([str(2 << 30)], ["1.5"])
    assert values("--shm-size", limited) == [str(1 << 30)]
    assert not {"--memory", "--cpus"} & set(options())
    assert values("--shm-size", options()) == [str(4 << 30)]


def test_without_a_network_there_is_no_port_and_no_certificate() -> None:
    host = replace(HOST, ca_bundle=Path("/etc/ca.pem"))
    alone = options(replace(REQUEST, network="none"), host)

    assert values("--network", alone) == ["none"]
    assert values("--publish", alone) == []
    assert "/etc/ca.pem" not in mounts(alone).values()
    assert "/etc/ca.pem" in mounts(options(REQUEST, host)).values()


def test_what_it_says_goes_to_the_log_where_there_is_one() -> None:
    logged = arguments(replace(REQUEST, log=Path("/data/log")))

    assert mounts(logged)["/run/hotdesk/log"] == "/data/log"
    assert logged[-5:] == ["-c", 'exec "$@" >>/run/hotdesk/log 2>&1', "hotdesk", "jupyter", "lab"]
    assert arguments()[-5:] == ["-c", 'exec "$@"', "hotdesk", "jupyter", "lab"]


def test_both_engines_get_the_same_but_for_their_own_options() -> None:
    podman = run_arguments(replace(REQUEST, image=LoadedImage("podman", IMAGE.id)), HOST, ANN, files={})

    assert [word for word in podman if word not in arguments()] == ["--http-proxy=false"]
    assert [word for word in arguments() if word not in podman] == ["--userns", "host"]


def test_the_caller_has_a_name_inside() -> None:
    passwd = "root:x:0:0::/root:/bin/sh\ndesk:x:1000:1000::/home/desk:/bin/sh\nmail:x:1234:8::/:/bin/sh\n"

    files = with_caller(passwd, "root:x:0:\ndesk:x:1000:\n", ANN)

    users = [line.split(":") for line in files["/etc/passwd"].decode().splitlines()]
    assert [row[0] for row in users] == ["desk", "root", "mail"]
    assert users[0][2:] == ["1234", "5678", "", "/home/desk", "/bin/bash"]
    assert files["/etc/group"] == b"desk:x:5678:\nroot:x:0:\n"


@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, '{"image": "sha256:ab", "passwd": 1}'])
def test_lists_of_users_that_cannot_be_read_any_more_are_asked_for_again(
    tmp_path: Path, content: str
) -> None:
    nothing_installed = Client(DOCKER, {"PATH": str(tmp_path)})
    image = LoadedImage("docker", "sha256:ab")
    kept = tmp_path / "accounts.json"
    kept.write_text('{"image": "sha256:ab", "passwd": "root:x:0:", "group": ""}')

    assert b"root:x:0:" in accounts(nothing_installed, image, ANN, tmp_path)["/etc/passwd"]

    kept.write_text(content)
    with pytest.raises(EngineError, match="Docker is not installed"):
        accounts(nothing_installed, image, ANN, tmp_path)
