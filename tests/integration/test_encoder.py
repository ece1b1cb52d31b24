"""The encoder gives the same bytes on every processor, which is why it is the one that we use."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import deflate
import pytest
from tests.support.host import lacking

from hotdesk.oci.gzip import LEVEL, PIECE

pytestmark = pytest.mark.integration

_SCRIPT = """
import hashlib, sys
import deflate
data = sys.stdin.buffer.read()
print(hashlib.sha256(deflate.deflate_compress(data, int(sys.argv[1]))).hexdigest())
"""


def sample() -> bytes:
    """Something between text and noise, as long as the longest piece."""
    noise = random.Random(1)
    words = [noise.randbytes(noise.randint(2, 12)) for _ in range(3000)]
    return b"".join(noise.choice(words) for _ in range(PIECE // 5))[:PIECE]


@pytest.mark.parametrize("processor", ["qemu64", "Nehalem", "Haswell", "max"])
def test_a_processor_with_other_instructions_packs_the_same(processor: str) -> None:
    emulator = shutil.which("qemu-x86_64")
    if os.uname().machine != "x86_64" or not emulator:
        lacking("qemu-x86_64 is not installed: other processors cannot be tried")
    command = [emulator, "-cpu", processor, os.path.realpath(sys.executable), "-S", "-c", _SCRIPT, str(LEVEL)]
    libraries = str(Path(deflate.__file__).parent.parent)

    done = subprocess.run(
        command, input=sample(), stdout=subprocess.PIPE, env={"PYTHONPATH": libraries}, check=True
    )

    expected = hashlib.sha256(deflate.deflate_compress(sample(), LEVEL)).hexdigest()
    assert done.stdout.decode().strip() == expected
