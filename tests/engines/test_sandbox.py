from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hotdesk.engines.host import Host, desk_environment
from hotdesk.engines.request import MOUNT_POINTS, Display, Root, RunRequest
from hotdesk.engines.sandbox import (
    bwrap_options,
    check,
    sandbox_files,
)
from hotdesk.errors import EngineError

REQUEST = RunRequest(
    root=Root(Path("/store/system"), Path("/store/environment")),
    command=("true",),
    home=Path("/data/home"),
    project=Path("/home/ann/project"),
    hostname="term1",
)
HOST = Host(memory=8 << 30)


def follows(options: list[str], *wanted: str) -> bool:
    """Whether the options hold these words in a row."""
    return any(tuple(options[at : at + len(wanted)]) == wanted for at in range(len(options)))


def test_both_trees_are_read_only() -> None:
    options = bwrap_options(REQUEST, HOST)

    assert follows(options, "--ro-bind", "/store/system", "/")
    assert follows(options, "--ro-bind", "/store/environment", "/opt/desk")


def test_only_home_and_project_can_be_written() -> None:
    options = bwrap_options(REQUEST, HOST)

    writable = [options[at + 1 : at + 3] for at, word in enumerate(options) if word == "--bind"]
    assert writable == [["/data/home", "/home/desk"], ["/home/ann/project", "/home/desk/work"]]
    assert not {"--dev-bind", "--overlay", "--bind-try", "--cap-add", "--share-net"} & set(options)


def test_without_a_project_work_is_a_folder_of_the_home() -> None:
    options = bwrap_options(replace(REQUEST, project=None), HOST)

    assert "/home/ann/project" not in options
    assert follows(options, "--chdir", "/home/desk/work")


def test_the_user_is_the_same_whoever_calls() -> None:
    assert follows(bwrap_options(REQUEST, HOST), "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL")


@pytest.mark.parametrize("namespace", ["user", "pid", "ipc", "uts"])
def test_namespaces_are_its_own(namespace: str) -> None:
    assert f"--unshare-{namespace}" in bwrap_options(REQUEST, HOST)


def test_the_network_is_the_hosts_unless_refused() -> None:
    host = replace(
        HOST, resolver=Path("/run/systemd/resolve/stub-resolv.conf"), ca_bundle=Path("/etc/ca.pem")
    )
    alone = replace(REQUEST, network="none")

    assert "--unshare-net" not in bwrap_options(REQUEST, host)
    assert follows(bwrap_options(REQUEST, host), "/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")
    assert "--unshare-net" in bwrap_options(alone, host)
    assert "/etc/resolv.conf" not in bwrap_options(alone, host)
    assert "/etc/ca.pem" not in bwrap_options(alone, host)
    assert "SSL_CERT_FILE" not in desk_environment(alone, host)


def test_shared_memory_is_half_of_the_machines() -> None:
    assert follows(bwrap_options(REQUEST, HOST), "--size", str(4 << 30), "--tmpfs", "/dev/shm")


def test_further_namespaces_are_forbidden_where_the_kernel_can() -> None:
    assert "--disable-userns" in bwrap_options(REQUEST, HOST)
    assert "--disable-userns" not in bwrap_options(REQUEST, replace(HOST, can_forbid_namespaces=False))


def test_what_root_could_use_in_proc_is_covered() -> None:
    options = bwrap_options(REQUEST, replace(HOST, protected=("/proc/sys",), hidden=("/proc/keys",)))

    assert follows(options, "--ro-bind", "/proc/sys", "/proc/sys")
    assert follows(options, "--ro-bind", "/dev/null", "/proc/keys")


def test_a_private_authority_is_trusted_inside_as_well() -> None:
    host = replace(HOST, ca_bundle=Path("/etc/company.pem"))

    environment = desk_environment(REQUEST, host)

    assert follows(bwrap_options(REQUEST, host), "/etc/company.pem", environment["SSL_CERT_FILE"])
    assert environment["REQUESTS_CA_BUNDLE"] == environment["SSL_CERT_FILE"]


def test_the_requests_own_variables_win() -> None:
    environment = desk_environment(replace(REQUEST, environment={"LANG": "de_DE.UTF-8"}), HOST)

    assert environment["LANG"] == "de_DE.UTF-8"


def test_the_desk_knows_its_own_name() -> None:
    files = sandbox_files(REQUEST, replace(HOST, hosts="127.0.0.1 localhost\n10.0.0.7 printer"))

    assert files["/etc/hosts"] == b"127.0.0.1 localhost\n10.0.0.7 printer\n127.0.1.1 term1\n"


def test_without_network_the_hosts_names_are_not_told() -> None:
    files = sandbox_files(replace(REQUEST, network="none"), replace(HOST, hosts="10.0.0.7 printer"))

    assert b"printer" not in files["/etc/hosts"]


class TestCheck:
    def test_a_root_without_mount_points_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(EngineError, match="not whole"):
            check(replace(REQUEST, root=Root(tmp_path, tmp_path)))

    def test_the_project_s_mount_point_is_made(self, tmp_path: Path) -> None:
        for name in (*MOUNT_POINTS, "bin"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "own").mkdir()

        check(replace(REQUEST, root=Root(tmp_path, tmp_path), home=tmp_path / "own", project=tmp_path))

        assert (tmp_path / "own" / "work").is_dir()


def test_a_display_that_is_reached_through_the_network_needs_one(tmp_path: Path) -> None:
    for name in (*MOUNT_POINTS, "bin"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "own").mkdir()
    root = Root(tmp_path, tmp_path)
    display = Display(environment={"DISPLAY": "localhost:10"}, address="localhost:10")
    request = replace(REQUEST, root=root, home=tmp_path / "own", project=None, display=display)

    check(request)
    with pytest.raises(EngineError, match="`localhost:10` is out of reach"):
        check(replace(request, network="none"))
