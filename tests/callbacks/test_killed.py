"""A process that is killed in the middle of `fit`, and one that goes on to the same bits."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kooler.callbacks.checkpoint_files import moments_in, read_facts
from tests.callbacks.killed_training import EPOCHS, STEPS, End, state, train

PROJECT = Path(__file__).parents[2]
Way = Callable[[Path, str, int, int], None]


def interrupted(directory: Path, optimizer: str, workers: int, at: int) -> None:
    """Leaves what an exception leaves that comes before a batch; much faster than a process."""

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        train(directory, optimizer, workers, End(at, stop))


def killed(directory: Path, optimizer: str, workers: int, at: int) -> None:
    """Leaves what a process leaves that is killed before a batch."""
    program = [sys.executable, "-m", "tests.callbacks.killed_training"]
    done = subprocess.run(
        [*program, str(directory), optimizer, str(workers), str(at)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def assert_goes_on_exactly(
    folder: Path, optimizer: str, way: Way, kills: list[tuple[int, int]], workers: int
) -> None:
    """After kills, each (workers, before which batch), all is as without them."""
    whole, all_batches = train(folder / "whole", optimizer, 0)
    done = []
    for count, at in kills:
        way(folder / "run", optimizer, count, at)
        facts = [read_facts(path) for path in moments_in(folder / "run")]
        done = [facts[-1]["data"]] if facts else [{"epoch": 0, "position": 0}]
    resumed, rest = train(folder / "run", optimizer, workers)

    first = done[-1]["epoch"] * STEPS + done[-1]["position"]
    assert len(all_batches.taken) == EPOCHS * STEPS
    assert rest.taken == all_batches.taken[first:]
    for expected, found in zip(state(whole), state(resumed), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.compiles
def test_ended_within_a_window_and_resumed_with_more_workers(tmp_path: Path) -> None:
    assert_goes_on_exactly(tmp_path, "window", interrupted, [(0, 9), (1, 2)], workers=2)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
@pytest.mark.parametrize(("optimizer", "seed"), [("plain", 0), ("window", 1)])
def test_killed_again_and_again_at_random(optimizer: str, seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    kills = [(int(random.integers(3)), int(random.integers(1, 7))) for _ in range(3)]

    assert_goes_on_exactly(tmp_path, optimizer, killed, kills, workers=int(random.integers(3)))
