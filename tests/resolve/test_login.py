"""Packages of an index that wants a login: chosen by uv, their sizes asked for, fetched by hotdesk."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.resolve.index_folder import add_wheel
from tests.resolve.sdist_folder import add_sdist
from tests.support.login_index import login_index

from hotdesk.resolve.uv import NoSolution, Question, Uv
from hotdesk.resolve.wheels import Target
from hotdesk.store import Store

if TYPE_CHECKING:
    from pathlib import Path

USER, PASSWORD = "me@work", "a:b/c%é"
QUOTED = "me%40work:a%3Ab%2Fc%25%C3%A9"
# In a process of its own: the user's settings are read once in each.
_LOCK_AND_FETCH = """
import sys
from pathlib import Path

from hotdesk.fetch import Fetcher, remember
from hotdesk.resolve.pypi import best_offer, lock_offers
from hotdesk.resolve.uv import Question, Uv
from hotdesk.resolve.wheels import Target
from hotdesk.store import Store

store, target = Store(Path(sys.argv[1])), Target("linux/amd64", "debian:trixie")
choices = Uv(store).compile(Question(["top"]), target)
offers = [(choice.name, best_offer(choice, target)) for choice in choices]
locked = lock_offers(offers)
for artifact, (_, offer) in zip(locked, offers):
    remember(store, artifact, offer.url)
with Fetcher(store) as fetcher:
    for artifact, path in fetcher.fetch(locked):
        print(artifact.file, path.stat().st_size == artifact.size)
"""


_RESOLVE = """
import sys
from pathlib import Path

from hotdesk.resolve.pypi import PythonRequest, PythonResolver
from hotdesk.resolve.uv import Uv
from hotdesk.resolve.wheels import Target
from hotdesk.store import Store

resolver = PythonResolver(Target("linux/amd64", "debian:trixie"), Uv(Store(Path(sys.argv[1]))).compile)
resolution = resolver.resolve(PythonRequest({"cpu": tuple(sys.argv[2:])}))
print(*(f"{package.name}=={package.version}" for package in resolution.packages), resolution.explanations)
"""


def lock_and_fetch(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return in_process(_LOCK_AND_FETCH, tmp_path, **settings)


def resolve(tmp_path: Path, *requirements: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return in_process(_RESOLVE, tmp_path, *requirements, **settings)


def in_process(
    program: str, tmp_path: Path, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
    environment |= {"PATH": os.environ["PATH"], "UV_HTTP_RETRIES": "0", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store"), *arguments],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    add_wheel(folder, "top", "1.0")
    return folder


@pytest.mark.parametrize("setting", ["UV_INDEX", "UV_DEFAULT_INDEX", "uv.toml", "address", "netrc"])
def test_the_login_is_found_wherever_uv_finds_it(wheels: Path, tmp_path: Path, setting: str) -> None:
    with login_index(wheels, USER, PASSWORD) as address:
        named = {"UV_INDEX_MY_CORP_USERNAME": USER, "UV_INDEX_MY_CORP_PASSWORD": PASSWORD}
        if setting == "uv.toml":
            (tmp_path / ".config" / "uv").mkdir(parents=True)
            text = f'[[index]]\nname = "my-corp"\nurl = "{address}"\ndefault = true\n'
            (tmp_path / ".config" / "uv" / "uv.toml").write_text(text)
        elif setting == "address":
            named = {"UV_DEFAULT_INDEX": address.replace("//", f"//{QUOTED}@")}
        elif setting == "netrc":
            (tmp_path / ".netrc").write_text(f'machine 127.0.0.1 login {USER} password "{PASSWORD}"\n')
            named = {"UV_DEFAULT_INDEX": address}
        else:
            named[setting] = f"my-corp={address}"
            named.setdefault("UV_DEFAULT_INDEX", address.replace("/simple", "/nothing"))

        done = lock_and_fetch(tmp_path, **named)

    assert (done.stdout, done.stderr) == ("top-1.0-py3-none-any.whl True\n", "")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "store" / "locations").iterdir())
    assert b"127.0.0.1" in kept
    assert b"work" not in kept


def test_without_the_login_the_error_says_so(wheels: Path, tmp_path: Path) -> None:
    with login_index(wheels, USER, PASSWORD) as address:
        done = resolve(tmp_path, "top", UV_DEFAULT_INDEX=f"corp={address}", UV_INDEX_CORP_USERNAME="other")

    assert done.returncode == 1
    assert "a package index denies access" in done.stderr
    assert f"{address} answers 401" in done.stderr
    assert "UV_INDEX_NAME_" in done.stderr


def test_an_index_that_forbids_all_is_no_missing_package(wheels: Path, tmp_path: Path) -> None:
    with login_index(wheels, USER, PASSWORD, without=403) as address:
        done = resolve(tmp_path, "top", UV_DEFAULT_INDEX=address)

    assert "a package index denies access" in done.stderr
    assert f"{address} answers 403" in done.stderr


@pytest.mark.parametrize("missing", [401, 403])
def test_an_index_that_denies_what_it_does_not_have_hides_no_other_answer(
    wheels: Path, tmp_path: Path, missing: int
) -> None:
    add_wheel(wheels, "below", "1.0")
    add_wheel(wheels, "below", "2.0")
    add_wheel(wheels, "high", "1.0", "below==1.0")
    add_wheel(wheels, "high", "2.0", "absent")
    with login_index(wheels, USER, PASSWORD, missing=missing) as address:
        settings = {"UV_DEFAULT_INDEX": address.replace("//", f"//{QUOTED}@")}
        found = resolve(tmp_path, "high", **settings)
        conflict = resolve(tmp_path, "high", "below==2.0", **settings)

    assert found.stdout == "below==1.0 high==1.0 {}\n"
    assert "high<=1.0 depends on below==1.0" in conflict.stdout + conflict.stderr
    assert ("denies access" in conflict.stderr) == (missing == 401)  # which leaves it open what there is
    assert "a%3Ab" not in conflict.stderr


@pytest.mark.parametrize("missing", [401, 403])
def test_nor_that_a_package_could_be_built(wheels: Path, tmp_path: Path, missing: int) -> None:
    add_wheel(wheels, "high", "1.0", "odd")
    add_wheel(wheels, "high", "2.0", "absent", "odd")
    add_sdist(wheels, "odd")
    with login_index(wheels, USER, PASSWORD, missing=missing) as address:
        environment = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "HOME": str(tmp_path)}
        environment["UV_DEFAULT_INDEX"] = address.replace("//", f"//{QUOTED}@")
        uv = Uv(Store(tmp_path / "store"), environment)
        answer = uv.compile(Question(["high"]), Target("linux/amd64", "debian:trixie"))

    assert isinstance(answer, NoSolution)
    assert answer.without_wheels == ("odd",)
