"""A worker that makes a batch again gets no memory anew."""

import subprocess
import sys

import pytest

from kooler.data.freed_memory import keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from kooler.data.freed_memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    samples = [np.full(2**18, index, "float32") for index in range(8)]
    np.stack(samples)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

known = sys.argv[1] == "kept" and keep_freed_memory()  # at the very beginning, as a worker does
faults()
print(int(known), max(faults() for _ in range(3)))
"""


def measured(way: str) -> tuple[int, int]:
    program = [sys.executable, "-c", FAULTS, way]
    ran = subprocess.run(program, capture_output=True, text=True, check=True)
    known, faults = map(int, ran.stdout.split())
    return known, faults


def test_memory_that_was_freed_is_used_again() -> None:
    known, kept = measured("kept")
    if not known:
        pytest.skip("this allocator is not glibc's")
    _, plain = measured("plain")

    assert plain > 2_000  # pages of 4 kB, of 16 MB
    assert kept < 20


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")

    assert not keep_freed_memory()
