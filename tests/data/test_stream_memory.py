"""A million small samples, out of two streams in turn, leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
from kooler.data import Stream
from tests.data.sources import Numbered

workers, processes, length = int(sys.argv[1]), sys.argv[2] == "processes", 100_000


def read():
    source = Numbered(length)
    return (source[index] for index in range(length))


if __name__ == "__main__":
    options = {"workers": workers, "processes": processes}
    one = Stream(Numbered(length), batch_size=32, shuffle=True, **options)
    other = Stream(read, batch_size=32)
    received, peaks = 0, []
    for epoch in range(5):
        for batches in zip(one, other, strict=True):  # two streams at once
            received += sum(len(batch[0]) for batch in batches)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    one.close()
    print(received, *peaks)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("workers", "kind"), [(0, "threads"), (2, "threads"), (2, "processes")], ids=str
)
def test_a_million_samples_leave_nothing(workers: int, kind: str, tmp_path: Path) -> None:
    script = tmp_path / "million.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(workers), kind],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    received, first, *_, last = map(int, done.stdout.split())

    assert received == 1_000_000
    # A leak of 64 bytes a sample would be 51 MB; the first epoch has reached the working set.
    assert (last - first) * (1 if sys.platform == "darwin" else 1024) < 16 * 2**20
