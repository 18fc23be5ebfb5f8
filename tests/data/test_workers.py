"""Spawned processes and threads: order, memory, exceptions, death, and what stops them."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kooler.data import Stream, parallel_map
from kooler.data.portable import dumps
from tests.data import sources

PROJECT = Path(__file__).parents[2]


def by_threads(function: Callable[[Any], Any], items: Any, **arguments: Any) -> Any:
    return parallel_map(function, items, processes=False, **arguments)


# Processes: each of these tests starts one or two, which takes most of its time.


def test_processes_give_the_results_in_order_without_loading_keras() -> None:
    assert list(parallel_map(sources.square, range(20))) == [n * n for n in range(20)]
    assert list(parallel_map(sources.modules, [0], workers=1)) == [set()]


def test_a_stream_read_by_processes_is_the_stream_read_here() -> None:
    here = Stream(sources.Noisy(10), batch_size=3, shuffle=True)
    there = Stream(sources.Noisy(10), batch_size=3, shuffle=True, workers=2)

    for _ in range(2):
        for expected, received in zip(list(here), list(there), strict=True):
            for mine, theirs in zip(expected, received, strict=True):
                np.testing.assert_array_equal(mine, theirs)
    there.close()


def test_an_exception_comes_from_a_process_with_its_traceback() -> None:
    results = parallel_map(sources.fails_at_three, range(10), workers=1)

    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(KeyError, match="three") as caught:
        next(results)
    assert "sources.py" in str(caught.value.__cause__)
    assert "in fails_at_three" in str(caught.value.__cause__)


def test_exceptions_that_cannot_travel_are_told() -> None:
    with pytest.raises(RuntimeError, match="Stubborn: 1 and 2"):
        next(parallel_map(sources.stubborn, [1], workers=1))


def test_a_worker_that_dies_is_an_error_and_the_stream_goes_on() -> None:
    stream = Stream(sources.Deadly(4, at=3), batch_size=1, workers=1)
    seen = []

    with pytest.raises(RuntimeError, match="A worker process died"):
        for batch in stream:
            seen.append(int(batch[0][0, 0]))
    position = stream.state()["position"]
    stream.close()

    assert seen == list(range(position))


def test_a_source_may_use_processes_itself() -> None:
    stream = Stream(sources.Parent(2), batch_size=2, workers=1)

    assert next(stream)[1].ravel().tolist() == [0, 1]
    stream.close()


def test_a_memory_map_is_opened_by_its_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(10_000).reshape(100, 100))
    opened = np.load(tmp_path / "a.npy", mmap_mode="r")

    again = pickle.loads(dumps({"source": opened}))["source"]

    assert len(dumps(opened)) < 1000
    np.testing.assert_array_equal(again, opened)
    np.testing.assert_array_equal(pickle.loads(dumps(opened[3:5])), opened[3:5])


def test_a_memory_map_is_read_as_it_lies(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(2, 3).T)  # column by column
    opened = np.load(tmp_path / "a.npy", mmap_mode="r")
    changed = np.load(tmp_path / "a.npy", mmap_mode="c")
    changed[0, 0] = 7  # in memory only

    assert not opened.flags.c_contiguous
    np.testing.assert_array_equal(pickle.loads(dumps(opened)), opened)
    np.testing.assert_array_equal(pickle.loads(dumps(changed)), changed)


# What holds for threads as well.


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_threads_keep_the_order(workers: int) -> None:
    assert list(by_threads(lambda n: n * n, range(20), workers=workers)) == [
        n * n for n in range(20)
    ]


def test_unordered_results_come_as_they_are_done() -> None:
    first = threading.Event()

    def wait_for_others(number: int) -> int:
        if number == 0:
            first.wait(60)
        elif number == 4:
            first.set()
        return number

    results = list(by_threads(wait_for_others, range(8), ordered=False))

    assert sorted(results) == list(range(8))
    assert results[0] != 0


def test_items_are_read_only_a_few_ahead() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    results = by_threads(abs, items(), workers=2)
    for _ in range(10):
        next(results)
    results.close()

    assert len(read) == 10 + 2 * 2


def test_an_exception_of_the_items_comes_after_their_results() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more disk")

    results = by_threads(abs, items())

    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(OSError, match="no more disk"):
        next(results)


def test_threads_end_though_their_exception_is_kept() -> None:
    before = set(threading.enumerate())
    with pytest.raises(KeyError) as caught:
        list(by_threads(sources.fails_at_three, range(9)))
    started = set(threading.enumerate()) - before
    for thread in started:
        thread.join(5)

    assert started
    assert not any(thread.is_alive() for thread in started)
    assert caught.tb


@pytest.mark.parametrize("workers", [0, 2])
def test_a_function_cannot_end_the_results_by_stop_iteration(workers: int) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(by_threads(lambda n: next(iter(())), range(3), workers=workers))


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"sent to a worker process: .*lambda"):
        parallel_map(lambda n: n, range(3))
    with pytest.raises(ValueError, match="cannot be sent to a worker process"):
        Stream([threading.Lock()], batch_size=1, workers=1)
    with pytest.raises(ValueError, match="received workers=-1"):
        parallel_map(abs, [], workers=-1)


SCRIPT = """
    import sys, time
    from kooler.data import parallel_map
    from tests.data.sources import slow_if_first, square

    if __name__ == "__main__":
        for number in parallel_map(square, iter(int, 1), workers=2):
            print("ready", flush=True)
"""


def started(tmp_path: Path) -> subprocess.Popen[str]:
    """A process that maps for ever, once its workers work."""
    script = tmp_path / "endless.py"
    script.write_text(textwrap.dedent(SCRIPT), "utf-8")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="process groups are of POSIX")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path: Path, ending: signal.Signals) -> None:
    process = started(tmp_path)

    if ending == signal.SIGINT:  # as a terminal does: to all processes of the group
        os.killpg(process.pid, ending)
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)

    assert process.returncode in (-ending, 1, 130)
    assert errors.count("Traceback") == (ending == signal.SIGINT)  # the parent's only
    assert is_gone(process.pid)


def is_gone(group: int) -> bool:
    """Whether no process of a group is left, within a few seconds."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False


def test_a_script_without_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from kooler.data import parallel_map\n"
        "from tests.data.sources import square\n"
        "print(list(parallel_map(square, [1, 2], workers=1)))\n",
        "utf-8",
    )

    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 1
    assert '`if __name__ == "__main__":`' in done.stderr
