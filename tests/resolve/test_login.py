"""Packages of an index that wants a login: chosen by uv, their sizes asked for, fetched by hotdesk."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.resolve.index_folder import add_wheel
from tests.support.login_index import login_index

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


def lock_and_fetch(tmp_path: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
    environment |= {"PATH": os.environ["PATH"], "UV_HTTP_RETRIES": "0", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", _LOCK_AND_FETCH, str(tmp_path / "store")],
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
        done = lock_and_fetch(tmp_path, UV_DEFAULT_INDEX=f"corp={address}", UV_INDEX_CORP_USERNAME="other")

    assert done.returncode == 1
    assert "a package index denies access" in done.stderr
    assert f"({address}) answers 401" in done.stderr
    assert "UV_INDEX_NAME_" in done.stderr
