"""What is handed over is what was given, whichever way it goes, and nothing of it stays."""

import os
import pickle
import resource
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kooler.data import Stream, handover
from kooler.data.workers import Workers
from tests.data.sources import Wide, lost

BATCH = {
    "x": (np.arange(500_000.0).reshape(500, 1000), np.arange(7, dtype="int8")),
    "y": np.asfortranarray(np.ones((900, 1000), "float32")),
    "none": np.zeros((0, 3)),
    "text": np.array(["a", "bc"]),
}

pytestmark = pytest.mark.skipif(
    not handover.parent_can_read(), reason="memory files are Linux's, and seen through /proc"
)


def equal(one: Any, other: Any) -> bool:
    parts = [*one["x"], one["y"], one["none"], one["text"]]
    others = [*other["x"], other["y"], other["none"], other["text"]]
    return all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(parts, others, strict=True)
    )


def large(number: int) -> Any:
    return np.full(handover.LARGE, number, "int8")


def test_what_is_unpacked_is_what_was_packed() -> None:
    parcel = handover.Pieces().packed(BATCH)
    assert isinstance(parcel, handover.Parcel)
    assert len(pickle.dumps(parcel)) < 2_000

    received = handover.unpacked(pickle.loads(pickle.dumps(parcel)))

    assert equal(received, BATCH)
    received["x"][0][0] = 7  # arrays of one's own, aligned
    assert all(array.flags.aligned for array in received["x"])


def test_small_things_and_other_things_go_through_the_pipe() -> None:
    pieces = handover.Pieces()
    for value in (np.zeros(9), "text", None, [np.zeros(3)] * 3):
        assert pieces.packed(value) is value
    assert handover.unpacked(BATCH) is BATCH


def test_a_piece_is_written_again_when_its_last_array_is_gone() -> None:
    pieces = handover.Pieces()
    first = pieces.packed([large(1), large(2)])
    values = handover.unpacked(first)
    part = values[0][5:9]
    del values

    second = pieces.packed(large(3))
    assert second.path != first.path
    assert part.tolist() == [1] * 4

    del part
    assert pieces.packed(large(4)).path == first.path


def test_a_piece_that_is_too_small_is_left_alone() -> None:
    pieces = handover.Pieces()
    small = pieces.packed(large(1))
    handover.discard(small)

    great = pieces.packed(np.zeros(10**7))

    assert great.path != small.path
    assert handover.unpacked(great).sum() == 0


def test_what_nobody_fetches_is_given_back() -> None:
    pieces = handover.Pieces()
    parcel = pieces.packed(BATCH)
    handover.discard(parcel)
    handover.discard(BATCH)

    assert pieces.packed(BATCH).path == parcel.path


def test_what_is_ready_after_nobody_asks_any_more_is_given_back(tmp_path: Path) -> None:
    begun, leave = threading.Event(), threading.Event()
    piece = tmp_path / "piece"
    piece.write_bytes(b"\1")

    def function(number: int) -> Any:
        if number == 0:
            return "first"
        begun.set()
        leave.wait(60)
        return handover.Parcel(b"", [], str(piece))

    results = Workers(function, 1, processes=False).map([0, 1])
    assert next(results) == "first"
    assert begun.wait(60)
    results.close()
    leave.set()

    for _ in range(200):
        if piece.read_bytes() == b"\0":
            return
        time.sleep(0.05)
    pytest.fail("the piece is still lent")


def test_of_pieces_that_nobody_reads_few_are_kept() -> None:
    pieces, before = handover.Pieces(), files_of_memory()
    for parcel in [pieces.packed(large(number)) for number in range(12)]:
        handover.discard(parcel)
    assert files_of_memory() == before + 2 * 12  # a map has its file open once more

    pieces.packed(large(0))

    assert files_of_memory() == before + 2 * handover.KEPT


def files_of_memory() -> int:
    files = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum("memfd:kooler" in str(name) for name in files)


def test_who_holds_many_batches_runs_out_of_no_files() -> None:
    pieces, before = handover.Pieces(), files_of_memory()

    held = [handover.unpacked(pieces.packed(large(number % 100))) for number in range(99)]

    assert [int(batch[-1]) for batch in held] == list(range(99))
    assert files_of_memory() <= before + handover.LENT + 2 * (handover.LENT + 1)
    held[98][:] = 0  # a copy is one's own, too


def test_a_fork_frees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = handover.Pieces()
    parcel = pieces.packed(large(1))
    received = handover.unpacked(parcel)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    del received
    monkeypatch.undo()

    assert pieces.packed(large(2)).path != parcel.path


def test_where_no_memory_can_be_had_a_result_takes_the_pipe() -> None:
    pieces, before = handover.Pieces(), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        assert pieces.packed(BATCH) is BATCH
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_systems_without_such_memory_use_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getppid", lambda: 2**30)
    assert not handover.parent_can_read()
    monkeypatch.delattr(os, "memfd_create")
    assert not handover.parent_can_read()


def test_a_stream_hands_over_large_batches_and_leaves_nothing() -> None:
    stream = Stream(Wide(19), batch_size=2, workers=1)

    held = list(stream)  # more batches than are ever ahead
    assert [int(batch[0, 0]) for batch in held] == list(range(0, 19, 2))
    assert all(len(np.unique(batch)) == len(batch) for batch in held)

    stream.close()
    assert int(held[3][1, -1]) == 7  # an array outlives the worker


def test_a_result_that_dies_with_its_worker_is_an_error() -> None:
    workers = Workers(lost, 1, processes=True)

    with pytest.raises(RuntimeError, match="A worker process died"):
        list(workers.map([1]))
    workers.close()
