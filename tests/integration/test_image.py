"""One image from one lock, wherever and by whomever it is built."""

from __future__ import annotations

import datetime
import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.commandline import Hotdesk
from tests.support.elsewhere import years_ahead
from tests.support.folders import open_folder

from hotdesk import errors
from hotdesk.store import Store

if TYPE_CHECKING:
    from hotdesk.engines.request import Root

pytestmark = pytest.mark.integration

NOBODY = 65534
KILLS = int(os.environ.get("HOTDESK_TEST_KILLS", "3"))

# Where and when hotdesk's own process finds itself, one that it starts, and one in a sandbox of a build.
_LOOK_AROUND = """
import json, platform, subprocess, time
from hotdesk.engines.bubblewrap import run_bwrap
year = ["date", "+%Y"]
print(json.dumps({
    "python": platform.python_version().rpartition(".")[0],
    "hotdesk": time.localtime().tm_year,
    "child": int(subprocess.check_output(year)),
    "sandbox": int(run_bwrap(("--ro-bind", "/", "/", "--dev", "/dev"), year).stdout),
}))
"""


def copied(project: Hotdesk, folder: Path) -> Hotdesk:
    shutil.copytree(project.folder, folder)
    return Hotdesk(folder, project.store, project.data)


@pytest.fixture(scope="module")
def built(jupyter: Hotdesk, tmp_path_factory: pytest.TempPathFactory) -> tuple[Hotdesk, dict[str, Any]]:
    """A project with its image, and what `hotdesk build` said of it."""
    project = copied(jupyter, tmp_path_factory.mktemp("built") / "project")
    return project, project.json("build", timeout=600)


def test_the_lock_knows_the_image_from_its_first_build_on(built: tuple[Hotdesk, dict[str, Any]]) -> None:
    project, image = built

    lock = json.loads((project.folder / "hotdesk.lock").read_text())

    known = lock["images"]["linux/amd64"]["default"]
    assert known["id"] == image["id"]
    assert [layer[0] for layer in known["layers"]] == [layer["diff_id"] for layer in image["layers"]]
    project.run("lock", "--check")


def test_a_second_build_finds_it_there(built: tuple[Hotdesk, dict[str, Any]]) -> None:
    project, image = built
    before = (project.folder / "hotdesk.lock").read_bytes()
    started = time.monotonic()

    again = project.json("build", "--offline")

    assert again == image
    assert (project.folder / "hotdesk.lock").read_bytes() == before
    assert time.monotonic() - started < 5


def test_a_killed_build_leaves_nothing_half_done(built: tuple[Hotdesk, dict[str, Any]]) -> None:
    """Its record and some of the bytecode are to be made again, and it is killed meanwhile."""
    project, image = built
    chance = random.Random(20261123)
    store = Store(project.store)
    whole = killed = 0.0
    for number in range(KILLS + 1):
        with store.unused():
            for item in (project.store / "items" / "image").iterdir():
                store.remove("image", item.name)
            store.remove("bytecode", chance.choice(os.listdir(project.store / "items" / "bytecode")))
        began = time.monotonic()
        process = project.start("build", "--offline")
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=chance.uniform(0, whole) if number else 600)
            whole = time.monotonic() - began
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL

        assert project.json("build", "--offline") == image, f"kill {number}"
    assert killed > KILLS / 3  # else the test has killed too late to mean anything


def test_it_is_the_same_for_another_user_home_folder_time_zone_locale_umask_core_count_clock_and_python(
    built: tuple[Hotdesk, dict[str, Any]], desk_root: Root
) -> None:
    project, image = built
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    with open_folder() as elsewhere:
        for name in ("home", "store/downloads", "data", "another folder"):
            (elsewhere / name).mkdir(parents=True)
        for name in ("hotdesk.toml", "hotdesk.lock"):
            shutil.copy(project.folder / name, elsewhere / "another folder" / name)
        for file in (project.store / "downloads").iterdir():
            shutil.copyfile(file, elsewhere / "store/downloads" / file.name)
        python = years_ahead(desk_root.system, "3.13", elsewhere / "python")
        for path in (elsewhere / "store", *elsewhere.rglob("*")):
            os.chown(path, user, user if os.geteuid() == 0 else -1)
        (elsewhere / "store").chmod(0o700)

        def run(*arguments: str) -> str:
            done = subprocess.run(
                ["taskset", "--cpu-list", "0", *python, *arguments],
                cwd=elsewhere / "another folder",
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(elsewhere / "home"),
                    "HOTDESK_STORE": str(elsewhere / "store"),
                    "HOTDESK_DATA": str(elsewhere / "data"),
                    "TZ": "Pacific/Kiritimati",
                    "LC_ALL": "C",
                    "PYTHONHASHSEED": "7",
                },
                user=user if os.geteuid() == 0 else None,
                group=user if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
                umask=0o077,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        seen = json.loads(run("-c", _LOOK_AROUND))
        again = json.loads(run("-m", "hotdesk", "build", "--offline", "--json"))

    ahead = datetime.datetime.now().year + 4
    assert seen["python"] == "3.13"
    assert {seen[where] for where in ("hotdesk", "child", "sandbox")} <= {ahead, ahead + 1}
    assert again == image


def test_a_build_that_gives_another_image_says_which_layer_and_which_file(
    built: tuple[Hotdesk, dict[str, Any]], tmp_path: Path
) -> None:
    """As it is where a compiler or a script of Debian's has done something else here."""
    project, _ = built
    here = copied(project, tmp_path / "project")
    lock = here.folder / "hotdesk.lock"
    known = json.loads(lock.read_text())
    image = known["images"]["linux/amd64"]["default"]
    image["id"] = f"sha256:{'0' * 64}"
    layer = image["layers"][-1]
    layer[0] = f"sha256:{'1' * 64}"
    layer[1] = layer[1][:40] + ("AA" if layer[1][40:42] != "AA" else "BB") + layer[1][42:]
    lock.write_text(json.dumps(known))

    refused = here.try_("build")
    accepted = here.try_("build", "--accept")

    assert refused.returncode == 1
    assert "is not the one that the lock knows" in refused.stderr
    assert f"layer {len(image['layers'])} (" in refused.stderr
    assert "differs, first in `opt/desk/" in refused.stderr
    assert accepted.returncode == 0
    assert here.try_("build").returncode == 0


def test_the_templates_image_is_the_one_that_its_lock_knows(term1: Hotdesk, tmp_path: Path) -> None:
    """Built here, of 2.4 GB in 180 packages, and on the machine on which the lock was made."""
    template = Path(inspect.getfile(errors)).parent / "templates" / "sdcnd-term1" / "hotdesk.lock"
    known = json.loads(template.read_text())["images"]["linux/amd64"]["cpu"]["id"]
    project = copied(term1, tmp_path / "project")

    image = project.json("build", "--variant", "cpu", timeout=900)

    if (project.folder / "hotdesk.lock").read_bytes() != template.read_bytes():
        pytest.skip("the template's lock had to be made anew: its packages are gone from the mirror")
    assert image["id"] == known
