"""A worker that makes a batch again gets no memory anew."""

import subprocess
import sys

import pytest

from kooler.data.freed_memory import keep_freed_memory

FAULTS = """
import resource
import numpy as np
from kooler.data.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    samples = [np.full(2**18, index, "float32") for index in range(8)]
    np.stack(samples)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = max(faults() for _ in range(3))
known = keep_freed_memory()
faults()
print(int(known), plain, max(faults() for _ in range(3)))
"""


def test_memory_that_was_freed_is_used_again() -> None:
    ran = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    known, plain, kept = map(int, ran.stdout.split())
    if not known:
        pytest.skip("this allocator is not glibc's")

    assert plain > 2_000  # pages of 4 kB, of 16 MB
    assert kept < 20


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert not keep_freed_memory()
