"""The isolation, looked at from inside.

Every probe also runs outside, where it must succeed: a probe that fails everywhere proves nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.terminal import on_a_terminal
from tests.support.waiting import eventually

from hotdesk.engines.landlock import scopes_supported
from hotdesk.engines.request import RunRequest
from hotdesk.engines.sandbox import run, start

if TYPE_CHECKING:
    from tests.integration.conftest import Sandbox

pytestmark = pytest.mark.integration

_IS_ROOT = os.geteuid() == 0
_RUN = "/run" if _IS_ROOT else f"/run/user/{os.getuid()}"
_SYSTEM_CALLS = {
    "x86_64": {"add_key": 248, "keyctl": 250, "ptrace": 101, "mount": 165, "unshare": 272, "bpf": 321},
    "aarch64": {"add_key": 217, "keyctl": 219, "ptrace": 117, "mount": 40, "unshare": 97, "bpf": 280},
}[platform.machine()]

READ = "print(len(open(sys.argv[1], 'rb').read()))"
CONNECT = (
    "s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect(eval(sys.argv[1])); print('connected')"
)


def outside(probe: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", f"import ctypes, fcntl, os, socket, sys\n{probe}", *arguments]
    environment = {**os.environ, **more}
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, env=environment)


def inside(sandbox: Sandbox, probe: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return sandbox.run("python", "-c", f"import ctypes, fcntl, os, socket, sys\n{probe}", *arguments)


def assert_only_outside(sandbox: Sandbox, probe: str, *arguments: str) -> None:
    """The probe works on the host and fails in the sandbox, with an exception and not by accident."""
    free = outside(probe, *arguments)
    assert free.returncode == 0, f"the probe cannot fail inside, for it does not work outside: {free.stderr}"
    caged = inside(sandbox, probe, *arguments)
    assert caged.returncode == 1, f"out of the cage: {caged.stdout}{caged.stderr}"
    assert "Error" in caged.stderr


class TestFiles:
    def test_the_callers_secrets_are_not_there(self, sandbox: Sandbox, tmp_path: Path) -> None:
        secret = tmp_path / "id_ed25519"
        secret.write_text("secret")

        assert_only_outside(sandbox, READ, str(secret))

    def test_the_callers_home_is_not_there(self, sandbox: Sandbox) -> None:
        home = Path.home()
        with tempfile.NamedTemporaryFile(dir=home) as file:
            assert_only_outside(sandbox, READ, file.name)

        listed = inside(
            sandbox, "print(os.listdir(sys.argv[1]) if os.path.exists(sys.argv[1]) else [])", str(home)
        )
        assert not set(os.listdir(home)) & set(eval(listed.stdout)) - {".bashrc", ".profile"}

    def test_the_hosts_passwords_are_not_there(self, sandbox: Sandbox) -> None:
        if not _IS_ROOT:
            pytest.skip("only root reads /etc/shadow outside")

        probe = "import os; print(os.path.exists('/etc/shadow') and open('/etc/shadow').read())"
        assert outside(probe).stdout == Path("/etc/shadow").read_text() + "\n"
        # The desk's own, which it has where a package of its base makes one.
        assert inside(sandbox, probe).stdout not in ("", outside(probe).stdout)

    def test_no_way_leads_through_another_process(self, sandbox: Sandbox, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("secret")

        for process in (1, os.getpid()):
            assert inside(sandbox, READ, f"/proc/{process}/root{secret}").returncode == 1
        assert outside(READ, f"/proc/self/root{secret}").returncode == 0

    @pytest.mark.parametrize(
        "path", ["/made", "/etc/made", "/usr/made", "/home/made", "/opt/desk/made", "/sys/made"]
    )
    def test_the_system_is_read_only(self, sandbox: Sandbox, path: str) -> None:
        caged = inside(sandbox, "open(sys.argv[1], 'w')", path)

        assert "Read-only file system" in caged.stderr
        assert not Path(path).exists()
        assert inside(sandbox, "open(sys.argv[1], 'w')", "/home/desk/work/made").returncode == 0

    def test_existing_files_of_the_system_cannot_be_changed(self, sandbox: Sandbox) -> None:
        for path in ("/etc/passwd", "/etc/hosts", "/opt/desk/pyvenv.cfg", "/usr/bin/env"):
            caged = inside(sandbox, "os.utime(sys.argv[1])", path)
            assert "Read-only file system" in caged.stderr, path

    def test_kernel_settings_cannot_be_changed(self, sandbox: Sandbox) -> None:
        probe = "p = '/proc/sys/kernel/printk'; v = open(p).read(); open(p, 'w').write(v)"
        if not _IS_ROOT:
            pytest.skip("only root changes kernel settings outside")

        assert_only_outside(sandbox, probe)
        if Path("/proc/sysrq-trigger").exists():
            assert_only_outside(sandbox, "os.close(os.open('/proc/sysrq-trigger', os.O_WRONLY))")

    def test_devices_are_few(self, sandbox: Sandbox) -> None:
        found = set(sandbox.run("ls", "/dev").stdout.split())

        assert found <= {
            "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
            "urandom", "zero",
        }  # fmt: skip
        assert {"null", "urandom", "shm"} <= found

    def test_no_descriptor_of_hotdesk_or_its_caller_is_inherited(self, sandbox: Sandbox) -> None:
        folder = os.open("/", os.O_RDONLY)
        try:
            listed = subprocess.run(
                sandbox.argv("ls", f"/proc/self/fd/{folder}/"),
                pass_fds=[folder],
                capture_output=True,
                check=False,
            )
            counted = subprocess.run(
                sandbox.argv("python", "-c", "import os; print(len(os.listdir('/proc/self/fd')))"),
                pass_fds=[folder],
                capture_output=True,
                check=False,
            )
        finally:
            os.close(folder)

        assert listed.returncode == 2
        assert counted.stdout == b"4\n"  # the fourth is the one that lists them

    def test_nor_does_a_desk_inherit_any(self, sandbox: Sandbox, tmp_path: Path) -> None:
        folder = os.open("/", os.O_RDONLY)
        files = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("log", "status", "alive")]
        os.set_inheritable(folder, True)
        try:
            request = RunRequest(
                root=sandbox.root,
                command=("ls", "/proc/self/fd"),
                home=sandbox.home,
                project=sandbox.project,
                hostname="desk",
            )
            start(request, output=files[0], status=files[1], alive=files[2])
        finally:
            for descriptor in (folder, *files):
                os.close(descriptor)

        eventually(lambda: "exit-code" in (tmp_path / "status").read_text())
        assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3"]

    def test_hotdesks_own_files_are_covered_where_the_project_holds_them(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        (tmp_path / "store" / "items").mkdir(parents=True)
        request = RunRequest(
            root=sandbox.root,
            command=("sh", "-c", "test -d store && test ! -e store/items && touch store/made"),
            home=sandbox.home,
            project=tmp_path,
            hostname="desk",
            hidden=(tmp_path / "store", tmp_path / "not there"),
        )

        assert run(request) == 0
        assert list((tmp_path / "store").iterdir()) == [tmp_path / "store" / "items"]


class TestProcesses:
    def test_only_the_desks_own_are_seen(self, sandbox: Sandbox) -> None:
        probe = "print(sorted(int(name) for name in os.listdir('/proc') if name.isdecimal()))"

        assert os.getpid() in json.loads(outside(probe).stdout)
        assert json.loads(inside(sandbox, probe).stdout) == [1, 2]

    def test_the_hosts_cannot_be_signalled(self, sandbox: Sandbox) -> None:
        probe = "os.kill(int(sys.argv[1]), 0)"

        assert_only_outside(sandbox, probe, str(os.getpid()))

    def test_the_process_group_outside_cannot_be_killed(self, sandbox: Sandbox) -> None:
        # The command shares its caller's process group, so that the terminal's keys reach both.
        if not scopes_supported():
            pytest.skip("this kernel has no Landlock scopes (Linux 6.12)")
        run = sandbox.argv("python", "-c", "import os; os.kill(0, 9)")
        script = 'trap "" TERM; "$@"; echo survived $?'

        result = subprocess.run(
            ["setsid", "--wait", "sh", "-c", script, "sh", *run],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

        assert result.stdout == "survived 137\n"

    def test_the_hosts_cannot_be_traced(self, sandbox: Sandbox) -> None:
        probe = (
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            f"answer = libc.syscall({_SYSTEM_CALLS['ptrace']}, 0x4206, int(sys.argv[1]), 0, 0)\n"
            "if answer: raise OSError(ctypes.get_errno(), 'ptrace')\n"
        )
        with subprocess.Popen(["sleep", "30"]) as process:
            try:
                assert_only_outside(sandbox, probe, str(process.pid))
            finally:
                process.kill()

    def test_no_privilege_is_left_nor_to_be_had(self, sandbox: Sandbox) -> None:
        probe = "print(open('/proc/self/status').read())"
        caged = dict(line.split(":", 1) for line in inside(sandbox, probe).stdout.splitlines() if ":" in line)
        free = dict(line.split(":", 1) for line in outside(probe).stdout.splitlines() if ":" in line)

        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(caged[name], 16) == 0, name
        assert int(free["CapBnd"], 16) != 0
        assert (caged["NoNewPrivs"].strip(), caged["Seccomp"].strip()) == ("1", "2")

    @pytest.mark.parametrize(
        ("name", "arguments"),
        [
            ("mount", (b"none", b"/tmp", b"tmpfs", 0, 0)),
            ("unshare", (0x10000000,)),  # a user namespace, the door to all others
            ("unshare", (0x00020000,)),
        ],
    )
    def test_namespaces_and_mounts_are_refused(
        self, sandbox: Sandbox, name: str, arguments: tuple[bytes | int, ...]
    ) -> None:
        if not _IS_ROOT:
            pytest.skip("only root may do this outside")
        prepare = (
            "" if name == "unshare" else "libc.unshare(0x00020000); libc.mount(b'', b'/', None, 0x44000, 0)\n"
        )
        probe = (
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            f"{prepare}"
            f"answer = libc.syscall({_SYSTEM_CALLS[name]}, *{arguments!r})\n"
            "if answer: raise OSError(ctypes.get_errno(), 'refused')\n"
        )

        assert_only_outside(sandbox, probe)

    def test_a_set_user_id_program_gains_nothing(self, sandbox: Sandbox) -> None:
        mounts = sandbox.run("cat", "/proc/self/mounts").stdout.splitlines()
        options = {line.split()[1]: line.split()[3].split(",") for line in mounts}

        for path in ("/", "/opt/desk", "/home/desk", "/home/desk/work", "/tmp"):
            assert "nosuid" in options[path], path
            assert "nodev" in options[path], path


class TestEnvironment:
    def test_secrets_do_not_pass(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "PYTHONSTARTUP", "BASH_ENV"):
            monkeypatch.setenv(name, "secret")
        monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
        probe = "print(sorted(os.environ))"

        caged = eval(inside(sandbox, probe).stdout)

        assert "GITHUB_TOKEN" in outside(probe).stdout
        assert set(caged) <= {
            "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "VIRTUAL_ENV", "PYTHONNOUSERSITE",
            "PWD", "OLDPWD", "TERM", "COLORTERM", "NO_COLOR", "LC_CTYPE", "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "https_proxy", "http_proxy", "no_proxy", "HTTP_PROXY",
            "HTTPS_PROXY", "NO_PROXY",
        }  # fmt: skip
        assert "https_proxy" in caged

    def test_the_monitor_keeps_no_secret_where_pid_1_could_be_read(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_TOKEN", "secret")

        caged = sandbox.run("sh", "-c", "cat /proc/1/environ /proc/1/cmdline | tr '\\0' '\\n'; echo end")

        assert "secret" not in caged.stdout
        assert str(sandbox.home) not in caged.stdout
        assert "end" in caged.stdout


class TestSockets:
    @pytest.mark.parametrize(
        "folder", ["/run" if _IS_ROOT else f"/run/user/{os.getuid()}", "/tmp", "/var/tmp"]
    )
    def test_sockets_in_the_hosts_folders_are_not_there(self, sandbox: Sandbox, folder: str) -> None:
        if not os.access(folder, os.W_OK):
            pytest.skip(f"{folder} cannot be written here")
        with (
            tempfile.TemporaryDirectory(dir=folder) as own,
            closing(socket.socket(socket.AF_UNIX)) as listening,
        ):
            listening.bind(f"{own}/socket")
            listening.listen()

            assert_only_outside(sandbox, CONNECT, repr(f"{own}/socket"))

    def test_abstract_sockets_are_closed(self, sandbox: Sandbox) -> None:
        if not scopes_supported():
            pytest.skip("this kernel has no Landlock scopes (Linux 6.12)")
        name = f"\0hotdesk-test-{os.getpid()}"
        with closing(socket.socket(socket.AF_UNIX)) as listening:
            listening.bind(name)
            listening.listen()

            assert_only_outside(sandbox, CONNECT, repr(name))

    def test_abstract_sockets_of_the_desk_itself_work(self, sandbox: Sandbox) -> None:
        probe = (
            "a = socket.socket(socket.AF_UNIX); a.bind('\\0hotdesk-own'); a.listen()\n"
            "b = socket.socket(socket.AF_UNIX); b.connect('\\0hotdesk-own'); print('connected')"
        )

        assert inside(sandbox, probe).stdout == "connected\n"

    @pytest.mark.parametrize(
        "path", ["/run/docker.sock", "/var/run/docker.sock", "/run/dbus", "/run/systemd", "/run/user"]
    )
    def test_the_hosts_services_are_not_there(self, sandbox: Sandbox, path: str) -> None:
        # Whatever /run holds on this host, the desk's own is fresh: see the sockets above.
        assert sandbox.run("test", "-e", path).returncode == 1
        assert sandbox.run("ls", "-A", "/run").stdout.split() in (["hotdesk", "lock"], ["lock"])


class TestKernel:
    def test_keyrings_are_closed(self, sandbox: Sandbox) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        key = libc.syscall(
            _SYSTEM_CALLS["add_key"], b"user", b"hotdesk-test", b"secret", 6, -4
        )  # user keyring
        if key < 0:
            pytest.skip("this host has no keyrings")
        read = (
            "libc = ctypes.CDLL(None, use_errno=True); buffer = ctypes.create_string_buffer(16)\n"
            f"if libc.syscall({_SYSTEM_CALLS['keyctl']}, 11, int(sys.argv[1]), buffer, 16) < 0: "
            "raise OSError(ctypes.get_errno(), 'keyctl')\n"
        )
        listed = "assert 'hotdesk-test' in open('/proc/keys').read(), 'Error: not listed'"
        try:
            assert_only_outside(sandbox, read, str(key))
            assert_only_outside(sandbox, listed)
        finally:
            libc.syscall(_SYSTEM_CALLS["keyctl"], 9, key, -4)  # unlink

    def test_nothing_can_be_typed_into_the_callers_terminal(self, sandbox: Sandbox) -> None:
        code = (
            "import fcntl\n"
            "try:\n"
            "    for character in b'x': fcntl.ioctl(0, 0x5412, bytes([character]))\n"
            "    print('typed')\n"
            "except PermissionError as error: print('refused', error.errno)\n"
            "except OSError as error: print('impossible', error.errno)\n"
        )
        said = {
            "inside": on_a_terminal(sandbox.argv("python", "-c", code)),
            "outside": on_a_terminal([sys.executable, "-c", code]),
        }

        if "impossible" in said["outside"]:
            pytest.skip("this kernel lets nobody type into a terminal")
        assert "typed" in said["outside"]
        assert "refused 1" in said["inside"]

    def test_another_system_call_table_is_no_way_around(self, sandbox: Sandbox) -> None:
        if platform.machine() != "x86_64":
            pytest.skip("x32 is x86's")
        probe = (
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            f"libc.syscall(0x40000000 + {_SYSTEM_CALLS['keyctl']}, 0, -3, 0); print(ctypes.get_errno())"
        )

        assert inside(sandbox, probe).stdout == "38\n"
