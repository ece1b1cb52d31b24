"""Bytecode has the same bytes whatever the process, the order and the machine's state."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.layers.wheelhouse import WHEEL, write_wheel
from tests.support.environments import make_environment

from hotdesk.build.bytecode import Interpreter, compile_wheel, compile_wheels
from hotdesk.build.environment import add_bytecode
from hotdesk.engines.bubblewrap import run_bwrap
from hotdesk.engines.programs import open_root
from hotdesk.errors import EngineError
from hotdesk.keys import bytecode_key
from hotdesk.layers.contents import read_contents, verify_tree
from hotdesk.layers.wheels import make_wheel_tree, site_packages
from hotdesk.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotdesk.engines.request import Root
    from hotdesk.layers.entries import Written

pytestmark = pytest.mark.integration

SHARING = "def {0}(x): return x in {{'webkit', 'firefox', '{1}'}}\n"


@pytest.fixture(scope="session")
def interpreter(desk_root: Root) -> Interpreter:
    found = (desk_root.system / "usr/bin").glob("python3.*[0-9]")
    python = min(path.name for path in found).removeprefix("python")
    return Interpreter(desk_root.system, python, ("tested",))


@pytest.fixture
def wheel(tmp_path: Path, interpreter: Interpreter) -> Path:
    """A wheel item of more modules than one process compiles, some of which do not compile."""
    files = {f"p/m{number}.py": _source(number).encode() for number in range(98)}
    files |= {
        "p/bad.py": b"x = (",
        "p/null.py": b"\0",
        "p/__init__.py": b"",
        "p/large.py": b"x = 1\n" * 200_000,
    }
    files["lib-1.dist-info/WHEEL"] = WHEEL
    made = write_wheel(tmp_path / "lib-1-py3-none-any.whl", files)
    return make_wheel_tree(Store(tmp_path / "wheels"), made, "0" * 64, interpreter.python)


def _source(number: int) -> str:
    """Constants and names that modules share with their neighbours, some used before and some after."""
    names = [f"name_{number // 2}", f"name_{number // 3}", f"name_{number}"]
    functions = [SHARING.format(name, f"value_{number // 5}") for name in names]
    return (
        "".join(functions) + f"class C:\n    def m(self): self.a{number} = self.b{number // 4} = 'value_7'\n"
    )


def compiled(wheel: Path, interpreter: Interpreter, store: Path, processes: int = 1) -> tuple[Written, ...]:
    with open_root(interpreter.system) as inside:
        item = compile_wheel(inside, Store(store), wheel, interpreter, processes)
    return read_contents(item).entries


def test_the_number_of_processes_makes_no_difference(
    wheel: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    alone = compiled(wheel, interpreter, tmp_path / "one")

    assert len([entry for entry in alone if entry.path.endswith(".pyc")]) == 100
    assert compiled(wheel, interpreter, tmp_path / "two", 2) == alone
    assert compiled(wheel, interpreter, tmp_path / "seven", 7) == alone


def test_the_state_of_the_machine_makes_no_difference(
    wheel: Path, interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = compiled(wheel, interpreter, tmp_path / "one")
    for name, value in {
        "TZ": "Asia/Kolkata",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "7",
        "PYTHONOPTIMIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir("/")
    old = os.umask(0o077)
    try:
        assert compiled(wheel, interpreter, tmp_path / "two") == before
    finally:
        os.umask(old)


def test_another_user_makes_no_difference(wheel: Path, interpreter: Interpreter, tmp_path: Path) -> None:
    """What the sandbox sees of the caller is a user number, and a store of its own."""
    if os.getuid():
        pytest.skip("only root can become somebody else")
    before = compiled(wheel, interpreter, tmp_path / "one")
    # pytest's folders and a store let nobody else in
    theirs = Path("/tmp") / f"hotdesk-test-{os.getpid()}"
    shutil.copytree(wheel, theirs / "wheel")
    shutil.copytree(interpreter.system, theirs / "system", symlinks=True)
    interpreter = replace(interpreter, system=theirs / "system")
    (theirs / "store").mkdir()
    os.chown(theirs / "store", 12_345, 12_345)
    try:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setgroups([])
                os.setresgid(12_345, 12_345, 12_345)
                os.setresuid(12_345, 12_345, 12_345)
                os.environ["HOME"] = str(theirs)
                status = int(compiled(theirs / "wheel", interpreter, theirs / "store") != before)
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(theirs)


def test_the_desk_imports_it_and_never_looks_at_the_source(
    wheel: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    environment = make_environment(store, [wheel], interpreter.python)
    add_bytecode(environment, compile_wheels(store, [wheel], interpreter))
    module = environment / "tree" / site_packages(interpreter.python) / "p/m3.py"
    module.unlink()  # not in place: it is the wheel's file as well
    module.write_text("raise SystemExit('compiled again')\n")

    program = "import p.m3; print(p.m3.__cached__, p.m3.C.m.__code__.co_filename)"
    options = [
        *("--unshare-all", "--ro-bind", str(interpreter.system), "/", "--dev", "/dev", "--tmpfs", "/opt"),
        *("--ro-bind", str(environment / "tree"), "/opt/desk", "--clearenv"),
    ]
    done = run_bwrap(options, ["/opt/desk/bin/python", "-c", program])

    prefix = f"/opt/desk/{site_packages(interpreter.python)}/p"
    tag = f"cpython-{interpreter.python.replace('.', '')}"
    assert done.stdout.decode().split() == [f"{prefix}/__pycache__/m3.{tag}.pyc", f"{prefix}/m3.py"]


def test_a_killed_compilation_is_taken_up_again(
    wheel: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    program = (
        "import sys; from pathlib import Path; from hotdesk.store import Store\n"
        "from hotdesk.build.bytecode import Interpreter, compile_wheels\n"
        "store, wheel, system, python = sys.argv[1:]\n"
        "interpreter = Interpreter(Path(system), python, ('tested',))\n"
        "list(compile_wheels(Store(Path(store)), [Path(wheel)], interpreter))\n"
    )
    arguments = [str(store.root), str(wheel), str(interpreter.system), interpreter.python]
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command) as process:
        while process.poll() is None and not list(store.root.glob("tmp/*/item/tree/**/*.pyc")):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    final = store.item("bytecode", bytecode_key(wheel.name, interpreter.python, interpreter.packages))
    assert not final.exists()

    (item,) = compile_wheels(store, [wheel], interpreter)

    assert item == final
    assert verify_tree(item) == []
    assert len(list(item.glob("tree/**/*.pyc"))) == 100


def test_no_interpreter_is_an_error_that_says_so(
    wheel: Path, interpreter: Interpreter, tmp_path: Path
) -> None:
    absent = Interpreter(interpreter.system, "3.2", ())

    with pytest.raises(EngineError, match=r"python3\.2"):
        list(compile_wheels(Store(tmp_path / "store"), [wheel], absent))
    assert not (tmp_path / "store/items").exists()


@pytest.fixture(scope="session")
def term1_items(
    tmp_path_factory: pytest.TempPathFactory, interpreter: Interpreter, term1_wheels: list[Path]
) -> Iterator[list[Path]]:
    store = Store(tmp_path_factory.mktemp("term1"))
    keys = {wheel: hashlib.sha256(wheel.name.encode()).hexdigest() for wheel in term1_wheels}
    yield [make_wheel_tree(store, wheel, key, interpreter.python) for wheel, key in keys.items()]
    shutil.rmtree(store.root)


def test_every_module_of_the_term1_desk_is_the_same_twice(
    term1_items: list[Path], interpreter: Interpreter, tmp_path: Path
) -> None:
    stores = Store(tmp_path / "one"), Store(tmp_path / "two")
    once = {
        item.name: read_contents(item) for item in compile_wheels(stores[0], term1_items, interpreter, jobs=2)
    }
    again = {
        item.name: read_contents(item)
        for item in compile_wheels(stores[1], term1_items[::-1], interpreter, jobs=5)
    }

    assert sum(entry.path.endswith(".pyc") for held in once.values() for entry in held.entries) > 10_000
    assert [name for name in once if once[name] != again[name]] == []
