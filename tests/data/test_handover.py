"""What is handed over is what was given, whichever way it goes, and nothing of it stays."""

import pickle
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kooler.data import Stream, handover
from tests.data.sources import Wide

BATCH = {
    "x": (np.arange(500_000.0).reshape(500, 1000), np.arange(7, dtype="int8")),
    "y": np.asfortranarray(np.ones((900, 1000), "float32")),
    "none": np.zeros((0, 3)),
    "text": np.array(["a", "bc"]),
}


def equal(one: Any, other: Any) -> bool:
    parts = [*one["x"], one["y"], one["none"], one["text"]]
    others = [*other["x"], other["y"], other["none"], other["text"]]
    return all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(parts, others, strict=True)
    )


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path)


def test_what_is_unpacked_is_what_was_packed(folder: str) -> None:
    parcel = handover.packed(BATCH, folder)
    assert isinstance(parcel, handover.Parcel)
    assert len(pickle.dumps(parcel)) < 2_000

    received = handover.unpacked(pickle.loads(pickle.dumps(parcel)))

    assert equal(received, BATCH)
    assert list(Path(folder).iterdir()) == []
    received["x"][0][0] = 7  # arrays of one's own, aligned
    assert all(array.flags.aligned for array in received["x"])


def test_small_things_and_other_things_go_through_the_pipe(folder: str) -> None:
    for value in (np.zeros(9), "text", None, [np.zeros(3)] * 3):
        assert handover.packed(value, folder) is value
    assert handover.packed(BATCH, "") is BATCH
    assert handover.unpacked(BATCH) is BATCH


def test_a_full_file_system_is_no_error(folder: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        assert handover.packed(BATCH, folder) is BATCH
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert list(Path(folder).iterdir()) == []
    assert handover.packed(BATCH, f"{folder}/closed") is BATCH


def test_what_nobody_fetches_is_freed(folder: str) -> None:
    handover.discard(handover.packed(BATCH, folder))
    handover.discard(BATCH)

    assert list(Path(folder).iterdir()) == []


@pytest.mark.skipif(not handover.SHARED.is_dir(), reason="there is no /dev/shm")
def test_a_stream_hands_over_large_batches_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "SHARED", tmp_path)
    stream = Stream(Wide(9), batch_size=2, workers=1)

    first = next(stream)
    assert len(list(tmp_path.iterdir())) == 1
    assert [int(batch[0, 0]) for batch in [first, *stream]] == [0, 2, 4, 6, 8]
    next(stream)
    stream.close()

    assert list(tmp_path.iterdir()) == []
