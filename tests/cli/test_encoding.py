from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WRITES = """
import sys
from pathlib import Path
from hotdesk.cli.encoding import restart_in_utf8
restart_in_utf8()
Path(sys.argv[1], "F\\u0151").touch()
"""


@pytest.mark.parametrize("options", [[], ["-I"]])
def test_a_name_is_written_in_utf8_whatever_the_locale(tmp_path: Path, options: list[str]) -> None:
    environment = {"PATH": os.environ["PATH"], **ASCII}
    options = [*options, *(["-X", "utf8=0"] if options else [])]

    subprocess.run(
        [sys.executable, *options, "-c", WRITES, str(tmp_path)], env=environment, check=True, timeout=60
    )

    assert os.listdir(os.fsencode(tmp_path)) == ["Fő".encode()]


def test_every_command_begins_with_it(tmp_path: Path) -> None:
    code = (
        "import sys; from types import SimpleNamespace; from hotdesk.cli import main; "
        "main.hotdesk = SimpleNamespace(main=lambda **_: print(sys.flags.utf8_mode))"
    )

    done = subprocess.run(
        [sys.executable, "-c", f"{code}; main.main()"],
        env={"PATH": os.environ["PATH"], **ASCII},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout.startswith("1"), done.stderr
