from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotdesk.engines import namespaces
from hotdesk.engines.namespaces import explain

if TYPE_CHECKING:
    from pathlib import Path

BWRAP = "/home/ann/venv/bin/bwrap"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A host on which everything is well."""
    return settings(tmp_path, **{"user/max_user_namespaces": "15000"})


def settings(top: Path, **values: str) -> Path:
    for name, value in values.items():
        path = top / "proc/sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return top


def test_a_good_host_passes(top: Path) -> None:
    assert all(check.ok for check in namespaces.namespace_checks(BWRAP, top))


def test_no_user_namespaces_allowed(top: Path) -> None:
    check = namespaces.user_namespaces(settings(top, **{"user/max_user_namespaces": "0"}))

    assert not check.ok
    assert "is 0" in check.why
    assert "sysctl -w user.max_user_namespaces=" in check.cure


def test_a_kernel_without_user_namespaces(tmp_path: Path) -> None:
    check = namespaces.user_namespaces(tmp_path)

    assert not check.ok
    assert "CONFIG_USER_NS" in check.cure


def test_only_root_may_make_them(top: Path) -> None:
    settings(top, **{"kernel/unprivileged_userns_clone": "0"})

    check = namespaces.unprivileged_clone(top, root=False)

    assert not check.ok
    assert namespaces.unprivileged_clone(top, root=True).ok
    assert "kernel.unprivileged_userns_clone=1" in check.cure


def test_apparmor_wants_a_profile_for_this_very_program(top: Path) -> None:
    settings(top, **{"kernel/apparmor_restrict_unprivileged_userns": "1"})

    check = namespaces.apparmor(BWRAP, top, root=False)

    assert not check.ok
    assert f'"{BWRAP}" flags=(unconfined)' in check.cure
    assert "apparmor_parser -r" in check.cure

    (top / "etc/apparmor.d").mkdir(parents=True)
    (top / "etc/apparmor.d/hotdesk-bwrap").write_text(namespaces.apparmor_profile(BWRAP))

    assert namespaces.apparmor(BWRAP, top, root=False).ok
    assert not namespaces.apparmor("/elsewhere/bwrap", top, root=False).ok


def test_a_covered_proc_is_a_container(top: Path) -> None:
    (top / "proc/self").mkdir()
    (top / "proc/self/mountinfo").write_text(
        "22 1 0:20 / /proc rw - proc proc rw\n"
        "23 22 0:21 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n"
        "24 22 0:22 / /proc/acpi ro - tmpfs tmpfs ro\n"
    )

    check = namespaces.whole_proc(top)

    assert not check.ok
    assert "/proc/acpi" in check.why
    assert "binfmt" not in check.why
    assert "systempaths=unconfined" in check.cure


def test_bubblewraps_words_come_with_cause_and_cure(top: Path) -> None:
    settings(top, **{"user/max_user_namespaces": "0"})

    said = "Creating new namespace failed: nesting depth or /proc/sys/user/max_*_namespaces exceeded (ENOSPC)"
    error = explain(f"bwrap: {said}", BWRAP, top)

    assert error.why.startswith(f"{said}; ")
    assert "user.max_user_namespaces is 0" in error.why
    assert "sysctl" in error.hint


def test_a_refusal_that_no_setting_explains_is_a_policy(top: Path) -> None:
    error = explain("bwrap: No permissions to create a new namespace", BWRAP, top)

    assert "security policy" in error.hint


def test_a_covered_proc_is_blamed_only_when_proc_is_the_trouble(top: Path) -> None:
    (top / "proc/self").mkdir()
    (top / "proc/self/mountinfo").write_text("24 22 0:22 / /proc/acpi ro - tmpfs tmpfs ro\n")

    assert "unmask=ALL" in explain("bwrap: Can't mount proc on /newroot/proc", BWRAP, top).hint
    assert "unmask=ALL" not in explain("bwrap: Creating new namespace failed", BWRAP, top).hint
