from benchmarks.packages import debian_names, requirements

from hotdesk.lock import Artifact, DebianPackage, LockedVariant, PythonPackage


def test_other_tools_get_the_files_of_the_lock_and_no_others() -> None:
    assert requirements(LOCKED) == (
        f"numpy==2.1.0 --hash=sha256:{'b' * 64}\npandas==2.3.0 --hash=sha256:{'a' * 64}\n"
    )


def test_apt_gets_each_name_once() -> None:
    assert debian_names(LOCKED) == ["libc6", "unzip"]


def wheel(name: str, version: str, sha256: str) -> PythonPackage:
    artifact = Artifact("pypi", name, f"{name}-{version}-py3-none-any.whl", 1, sha256)
    return PythonPackage(name, version, artifact, ("cpu",), layer=0)


def deb(name: str) -> DebianPackage:
    artifact = Artifact("debian", "debian", f"pool/main/{name}_1_amd64.deb", 1, "c" * 64)
    return DebianPackage(name, "1", "amd64", artifact, ("cpu",))


LOCKED = LockedVariant(
    platform="linux/amd64",
    variant="cpu",
    python="3.13",
    base="debian:trixie",
    snapshot="20261123T000000Z",
    debian=(deb("unzip"), deb("libc6"), deb("unzip")),
    pypi=(wheel("pandas", "2.3.0", "a" * 64), wheel("numpy", "2.1.0", "b" * 64)),
)
