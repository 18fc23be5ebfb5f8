"""Batches of similar length: every sample once, padded to its bucket."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.data import Stream, bucket_by_length


def text(length: int) -> Any:
    return np.full(length, length), np.float32(length)


def test_by_hand() -> None:
    batches = bucket_by_length(map(text, [1, 3, 2, 5, 4, 2]), [2, 4], batch_size=2)

    received = [(tokens.tolist(), labels.tolist()) for tokens, labels in batches]

    assert received == [
        ([[1, 0], [2, 2]], [1, 2]),
        ([[2, 2]], [2]),
        ([[3, 3, 3, 0], [4, 4, 4, 4]], [3, 4]),
        ([[5, 5, 5, 5, 5]], [5]),
    ]
    assert batches.waste == pytest.approx(2 / 19)  # 17 of 19 places are taken


@settings(max_examples=50)
@given(st.lists(st.integers(1, 20), max_size=40), st.integers(1, 5))
def test_each_sample_comes_once_in_its_bucket(lengths: list[int], size: int) -> None:
    seen, padded, boundaries = [], 0, [3, 8, 12]

    batches = bucket_by_length(map(text, lengths), boundaries, batch_size=size)
    for tokens, labels in batches:
        seen.extend(labels.astype(int).tolist())
        padded += int((tokens == 0).sum())
        expected = min((b for b in boundaries if b >= max(labels)), default=max(labels))
        assert tokens.shape[1] == expected
        assert len(tokens) <= size

    assert sorted(seen) == sorted(lengths)
    assert batches.waste == pytest.approx(padded / (padded + sum(lengths)) if lengths else 0)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 30), max_size=40))
def test_a_batch_holds_at_most_so_many_tokens(lengths: list[int]) -> None:
    batches = list(bucket_by_length(map(text, lengths), [4, 10], tokens=24))

    assert all(tokens.size <= 24 or len(tokens) == 1 for tokens, _ in batches)
    assert sum(len(tokens) for tokens, _ in batches) == len(lengths)


def test_length_and_padding_can_be_chosen() -> None:
    samples = [
        {"a": np.zeros((2, 1)), "b": 7, "c": np.zeros(1)},
        {"a": np.zeros((3, 1)), "b": 8, "c": np.ones(1)},
    ]

    (batch,) = bucket_by_length(samples, [3], length=lambda one: len(one["a"]), padding=-1)

    assert batch["a"][..., 0].tolist() == [[0, 0, -1], [0, 0, 0]]
    assert batch["b"].tolist() == [7, 8]
    assert batch["c"].tolist() == [[0], [1]]  # of another length than the sample


def test_a_stream_feeds_them() -> None:
    stream = Stream(lambda: bucket_by_length(map(text, [1, 2, 3]), [2, 4], batch_size=2))

    assert [batch[0].shape for batch in stream] == [(2, 2), (1, 4)]


@pytest.mark.parametrize(
    ("boundaries", "arguments", "message"),
    [
        ([], {}, r"ascending lengths, received boundaries=\[\]"),
        ([4, 2], {}, r"received boundaries=\[4, 2\]"),
        ([2], {"batch_size": 0}, r"`batch_size` must be 1 or more"),
        ([2], {"tokens": 0}, r"`tokens` must be 1 or more"),
    ],
)
def test_errors(boundaries: list[int], arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bucket_by_length([], boundaries, **arguments)
