"""What a batch weighs: the number that makes the means of its parts into the mean of the whole."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.batch import (
    Batch,
    Data,
    applying,
    current,
    denominator,
    examples_in,
    recording,
    report_weight,
)

RANDOM = np.random.default_rng(0)
B, T = 6, 4
MASK = RANDOM.random((B, T)) < 0.6
MASK[3] = False  # an example without any valid position
WEIGHTS = RANDOM.random((B, T)).astype("float32")
TARGETS, OUTPUTS = RANDOM.normal(size=(2, B, T, 2)).astype("float32")


def number(tensor: Any) -> float:
    return float(ops.convert_to_numpy(tensor))


def loss_and_weight(rows: slice, reduction: str, mask: bool, weights: bool) -> tuple[float, Batch]:
    """The loss of some rows by Keras, and what was recorded of it."""
    model = keras.Sequential([keras.Input((T, 2)), keras.layers.Identity()])
    model.compile("sgd", loss=keras.losses.MeanSquaredError(reduction=reduction))
    outputs = ops.convert_to_tensor(OUTPUTS[rows])
    model.compute_loss(None, outputs, outputs)  # builds the compiled loss
    if mask:
        outputs._keras_mask = ops.convert_to_tensor(MASK[rows])
    data = Data(OUTPUTS[rows], TARGETS[rows], WEIGHTS[rows] if weights else None)
    with recording(model) as record:
        loss = model.compute_loss(data.x, data.y, outputs, data.sample_weight)
    return number(loss), record.batch(data)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight"])
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
@pytest.mark.parametrize("weights", [False, True], ids=["", "weights"])
@pytest.mark.parametrize("cut", [1, 2, 4])
def test_weights_join_the_losses_of_parts(
    reduction: str, mask: bool, weights: bool, cut: int
) -> None:
    whole, facts = loss_and_weight(slice(None), reduction, mask, weights)
    one, first = loss_and_weight(slice(cut), reduction, mask, weights)
    two, second = loss_and_weight(slice(cut, None), reduction, mask, weights)

    m, n = number(first.weight), number(second.weight)

    assert m + n == pytest.approx(number(facts.weight), rel=1e-6)
    assert (m * one + n * two) / (m + n) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("reduction", "mask", "weights", "expected"),
    [
        ("sum_over_batch_size", False, False, B * T),
        (
            "sum_over_batch_size",
            False,
            True,
            B * T,
        ),  # Keras divides by the entries, not the weights
        ("sum_over_batch_size", True, False, MASK.sum()),
        ("mean_with_sample_weight", False, True, WEIGHTS.sum()),
        ("mean_with_sample_weight", True, True, (WEIGHTS * MASK).sum()),
    ],
)
def test_what_a_batch_weighs(reduction: str, mask: bool, weights: bool, expected: float) -> None:
    _, facts = loss_and_weight(slice(None), reduction, mask, weights)

    assert number(facts.weight) == pytest.approx(expected, rel=1e-6)
    assert not facts.summed


def test_weights_of_examples_count_once_per_unmasked_position() -> None:
    values, mask = ops.ones((2, 3)), ops.convert_to_tensor([[True, True, False], [True] * 3])
    facts = denominator("l", "mean_with_sample_weight", values, mask, ops.array([2.0, 5.0]))

    assert number(facts.terms) == 2.0 * 2 + 5.0 * 3


def test_a_sum_has_no_denominator() -> None:
    loss, facts = loss_and_weight(slice(None), "sum", mask=False, weights=False)
    half, _ = loss_and_weight(slice(3), "sum", mask=False, weights=False)
    rest, _ = loss_and_weight(slice(3, None), "sum", mask=False, weights=False)

    assert facts.summed
    assert number(facts.weight) == 1.0
    assert half + rest == pytest.approx(loss, rel=1e-6)


def test_without_compiled_losses_a_batch_weighs_its_examples() -> None:
    assert number(Batch(examples=5).weight) == 5.0


def test_a_function_that_takes_its_own_mean_counts_examples() -> None:
    one = denominator("own", "sum_over_batch_size", ops.zeros(()), None, None)

    assert number(Batch(5, (one, one)).weight) == 1.0  # one loss: only ratios matter
    assert one.per_example == 1


def test_losses_over_examples_and_over_pixels_agree_on_the_examples() -> None:
    classes = denominator("class", "mean", ops.zeros(3), None, None)
    pixels = denominator("pixels", "mean", ops.zeros((3, 5, 5)), None, None)

    assert number(Batch(3, (classes, pixels)).weight) == 3.0
    assert pixels.per_example == 25


def test_losses_that_share_a_mask_share_their_weight() -> None:
    mask = ops.convert_to_tensor(MASK)
    losses = [denominator(name, "mean", ops.zeros((B, T)), mask, None) for name in "ab"]

    assert number(Batch(B, tuple(losses)).weight) == MASK.sum()


def test_losses_with_different_denominators_are_named() -> None:
    words = denominator("words", "mean", ops.zeros((B, T)), ops.convert_to_tensor(MASK), None)
    topic = denominator("topic", "mean", ops.zeros(B), None, None)
    size = denominator("size", "sum", ops.zeros(B), None, None)

    with pytest.raises(ValueError) as error:
        print(Batch(B, (words, topic, size)).weight)

    assert str(error.value).startswith(
        "The losses of this model have different denominators: 'words' is a mean over the entries "
        "of its own mask or weights; 'topic' is a mean over the examples; 'size' is a sum. "
    )
    assert "call `report_weight`" in str(error.value)


def test_a_reported_weight_wins() -> None:
    model = keras.Model()
    with recording(model) as record:
        report_weight(ops.convert_to_tensor(7))

    assert number(record.batch(Data(np.zeros((2, 1)))).weight) == 7.0


def test_outside_of_a_recording_a_reported_weight_is_ignored() -> None:
    report_weight(3)

    with recording(keras.Model()) as record:
        pass
    assert record.reported is None


def test_nested_recordings_keep_apart() -> None:
    with recording(keras.Model()) as outer:
        with recording(keras.Model()) as inner:
            report_weight(1)
        report_weight(2)

    assert (inner.reported, outer.reported) == (1, 2)


def test_facts_are_known_only_while_they_are_applied() -> None:
    with applying(Batch(3)):
        inside = current()

    assert inside == Batch(3)
    assert current() is None


def test_facts_are_gone_after_an_error() -> None:
    with pytest.raises(KeyError), applying(Batch(3)):
        raise KeyError

    assert current() is None


def test_examples_are_counted_in_the_first_tensor() -> None:
    assert int(examples_in(Data({"b": None, "c": np.zeros((5, 2))}))) == 5


def test_tensors_leave_and_come_back() -> None:
    facts = Batch(2, (denominator("a", "mean", ops.zeros((2, 3)), None, None),))
    terms, reported = facts.tensors()

    changed = facts.with_tensors(([terms[0] * 2], reported))

    assert number(changed.weight) == 12.0
    assert number(facts.weighing(ops.ones(())).weight) == 1.0
