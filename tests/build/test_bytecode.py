from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hotdesk.build import compile_script
from hotdesk.build.compile_script import canonical_pyc, find_modules
from hotdesk.keys import bytecode_key, interpreter_packages

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = b"""
import os.path

class Widget:
    'A docstring'
    def method(self, argument=1.5, *rest, key=('a', 'b')):
        self.unusual_attribute_name = argument in {'webkit', 'firefox', 'chromium'}
        return os.path.join(*rest, key[0]), 12345678901234567890, b'bytes', ...
"""


def test_code_knows_its_path_in_the_desk() -> None:
    pyc = canonical_pyc(SOURCE, "/opt/desk/lib/python3.13/site-packages/widget.py")

    assert pyc
    assert marshal.loads(pyc[16:]).co_filename == "/opt/desk/lib/python3.13/site-packages/widget.py"


def test_bytecode_is_never_compared_with_its_source() -> None:
    pyc = canonical_pyc(SOURCE, "widget.py")

    assert pyc
    assert pyc[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(pyc[4:8], "little") == 0b01  # by hash, unchecked: PEP 552
    assert pyc[8:16] == importlib.util.source_hash(SOURCE)


@pytest.mark.parametrize(
    "source",
    [
        b"x = (",
        b"\0",
        b"# coding: nonsense\n",
        b"'\xff'",
        b"return 1\n",
        b"x = " + b"(" * 500,
        b"x = '\\ud800'",
    ],
)
def test_what_compiles_is_what_python_compiles(source: bytes) -> None:
    try:
        compile(source, "x.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        assert canonical_pyc(source, "x.py") is None
    else:
        assert canonical_pyc(source, "x.py")


def test_the_code_does_what_the_source_does() -> None:
    pyc = canonical_pyc(SOURCE, "widget.py")
    assert pyc
    found: dict[str, type] = {}
    exec(marshal.loads(pyc[16:]), found)

    assert found["Widget"].__doc__ == "A docstring"
    assert found["Widget"]().method("webkit", "x")[2] == b"bytes"


def test_who_else_holds_a_name_leaves_no_trace() -> None:
    """Reference flags of names follow the process in plain CPython 3.11; here they do not."""
    program = """if 1:
        import sys
        sys.path.insert(0, sys.argv[1])
        import compile_script
        held = [sys.intern(name) for name in sys.argv[2:]]
        sys.stdout.buffer.write(compile_script.canonical_pyc(sys.stdin.buffer.read(), "x.py"))
    """
    folder = compile_script.__file__.rpartition("/")[0]
    simple = SOURCE.replace(b"{'webkit', 'firefox', 'chromium'}", b"'webkit'")

    def compiled(*names: str) -> bytes:
        command = [sys.executable, "-I", "-S", "-c", program, folder, *names]
        return subprocess.run(command, input=simple, capture_output=True, check=True).stdout

    assert compiled() == compiled("Widget", "method", "argument", "unusual_attribute_name", "webkit", "rest")


def test_modules_come_sorted_and_only_real_ones(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.py", "b/a.py", "b/Z.py", "b/data.txt", "a.pyi"):
        (tmp_path / name).touch()
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "broken.py").symlink_to("nowhere")

    assert find_modules(str(tmp_path)) == ["b/Z.py", "b/a.py", "z.py"]


def test_the_key_follows_from_wheel_and_interpreter() -> None:
    key = bytecode_key("wheel", "3.13", ("b", "a"))

    assert key == bytecode_key("wheel", "3.13", ("a", "b"))
    assert len({key, bytecode_key("other", "3.13", ("a", "b")), bytecode_key("wheel", "3.13", ("a",))}) == 3
    assert "libpython3.13-stdlib" in interpreter_packages("3.13")
