import base64
import csv
import hashlib
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.big_wheel import PROJECT, make_index


def test_the_wheel_is_as_large_as_asked_and_tells_the_truth_about_its_files(tmp_path: Path) -> None:
    address = make_index(tmp_path, megabytes=3)

    (path,) = (tmp_path / PROJECT).glob("*.whl")
    assert Path(urlsplit(address).path) == tmp_path
    assert path.name in (tmp_path / PROJECT / "index.html").read_text()
    assert 3 << 20 < path.stat().st_size < 4 << 20
    with zipfile.ZipFile(path) as wheel:
        record = {row[0]: row for row in csv.reader(wheel.read(record_name(wheel)).decode().splitlines())}
        assert set(record) == set(wheel.namelist())
        for name, (_, digest, size) in record.items():
            content = wheel.read(name)
            if digest:
                assert digest == f"sha256={encoded(content)}"
                assert int(size) == len(content)


def record_name(wheel: zipfile.ZipFile) -> str:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/RECORD")]
    return name


def encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
