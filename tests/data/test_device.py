"""Batches that are sent ahead are the same batches, in the same order, each exactly once."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

from kooler.data import Stream, device
from tests.conftest import BACKEND
from tests.data.sources import Failing, Numbered
from tests.data.test_stream import counting_model, counts, numbers


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """As on an accelerator: every batch is sent, and noted."""
    batches: list[list[int]] = []

    def send(batch: Any) -> Any:
        batches.append(numbers(batch))
        return batch

    monkeypatch.setattr("kooler.data.stream.sender", lambda: send)
    return batches


def test_while_a_batch_is_used_the_next_is_on_its_way(sent: list[list[int]]) -> None:
    batches = Stream(Numbered(5), batch_size=2).batches("train", endless=False)

    assert numbers(next(batches)) == [0, 1]
    assert sent == [[0, 1], [2, 3]]
    assert [numbers(one) for one in batches] == [[2, 3], [4]]
    assert sent == [[0, 1], [2, 3], [4]]


def test_what_is_on_its_way_is_not_taken(sent: list[list[int]]) -> None:
    stream = Stream(Numbered(8), batch_size=2)
    batches = stream.batches("train", endless=True)
    next(batches)

    assert stream.state()["position"] == 1
    assert numbers(next(stream)) == [2, 3]
    assert numbers(next(batches)) == [4, 5]


@pytest.mark.parametrize("workers", [0, 2])
def test_fits_that_end_within_an_epoch_lose_nothing(workers: int, sent: list[list[int]]) -> None:
    stream = Stream(Numbered(10), batch_size=4, shuffle=True, workers=workers, processes=False)
    model = counting_model()

    model.fit(stream, steps_per_epoch=2, verbose=0)
    model.fit(stream, steps_per_epoch=3, epochs=3, verbose=0)
    model.fit(stream, verbose=0)

    assert counts(model, 10) == [4] * 10
    assert sorted(one for batch in sent for one in batch)[:4] == [0] * 4


def test_an_error_waits_for_its_batch(sent: list[list[int]]) -> None:
    stream = Stream(Failing(6, at=3), batch_size=2)
    batches = stream.batches("train", endless=False)

    assert numbers(next(batches)) == [0, 1]
    with pytest.raises(KeyError, match="no such sample"):
        next(batches)
    assert stream.state()["position"] == 1


def test_ctrl_c_while_a_batch_is_drawn_ahead_loses_nothing(sent: list[list[int]]) -> None:
    impatient = [True]

    def read() -> Iterator[Any]:
        for index in range(4):
            if index == 1 and impatient.pop():
                impatient.append(False)
                raise KeyboardInterrupt
            yield np.full(3, index, "float32"), np.full(1, index, "float32")

    stream = Stream(read, batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        next(stream.batches("train", endless=False))
    impatient[:] = [False]

    assert [numbers(one) for one in stream] == [[0], [1], [2], [3]]


def test_without_prefetch_nothing_is_sent(sent: list[list[int]]) -> None:
    counting_model().fit(Stream(Numbered(4), batch_size=2, prefetch=False), verbose=0)

    assert sent == []


def test_on_a_cpu_nothing_is_sent() -> None:
    assert device.sender() is None


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX's trainer draws ahead by itself")
def test_on_an_accelerator_jax_loses_no_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    stream = Stream(Numbered(8), batch_size=2)
    model = counting_model()

    assert device.sender() is device.send_by_jax
    for _ in range(4):
        model.fit(stream, steps_per_epoch=1, verbose=0)

    assert counts(model, 8) == [1] * 8


@pytest.mark.skipif(BACKEND != "torch", reason="sends tensors of PyTorch")
def test_torch_is_sent_what_it_has_a_type_for() -> None:
    import torch

    batch = {"a": np.arange(3.0)[::-1], "b": (np.array([1], "uint16"), np.array(["text"]))}
    sent = device.send_by_torch(batch, torch.device("cpu"))

    assert sent["a"].tolist() == [2.0, 1.0, 0.0]
    assert sent["b"][0] is batch["b"][0]
    assert sent["b"][1] is batch["b"][1]


@pytest.mark.skipif(BACKEND != "jax", reason="sends arrays of JAX")
def test_jax_is_sent_the_same_numbers() -> None:
    sent = device.send_by_jax((np.arange(3, dtype="int32"), {"b": np.ones(2, "float32")}))

    assert keras.ops.convert_to_numpy(sent[0]).tolist() == [0, 1, 2]
    assert str(sent[1]["b"].dtype) == "float32"
