import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

from kooler.seq2seq.order import ORDERS, check_order, layout, sentence_of, tokens_per_step, visible
from kooler.seq2seq.reserved_ids import EOS, L2R, MID_LEFT, MID_RIGHT, PAD, R2L


def laid_out(target: list[int], order: str, length: int | None = None) -> dict[str, np.ndarray]:
    padded = target + [PAD] * ((length or len(target)) - len(target))
    streams = layout(
        ops.convert_to_tensor(np.array([[padded]], "int32")),
        ops.convert_to_tensor(np.array([[ORDERS.index(order)]], "int32")),
    )
    return {name: ops.convert_to_numpy(field)[0, 0] for name, field in streams._asdict().items()}


def test_left_to_right_shifts_by_one():
    streams = laid_out([7, 8, 9], "l2r")

    assert streams["inputs"][:4].tolist() == [L2R, 7, 8, 9]
    assert streams["targets"][:4].tolist() == [7, 8, 9, EOS]
    assert streams["time"][:4].tolist() == [0, 1, 2, 3]
    assert streams["side"].tolist() == [0] * 6
    assert streams["weight"].tolist() == [1, 1, 1, 1, 0, 0]


def test_right_to_left_reads_the_target_backwards():
    streams = laid_out([7, 8, 9], "r2l")

    assert streams["inputs"][:4].tolist() == [R2L, 9, 8, 7]
    assert streams["targets"][:4].tolist() == [9, 8, 7, EOS]
    assert streams["side"].tolist() == [1] * 6


def test_both_ends_with_an_odd_target_end_in_the_right_slot():
    streams = laid_out([7, 8, 9], "mid")

    assert streams["targets"][:4].tolist() == [7, 9, 8, EOS]
    assert streams["inputs"][:4].tolist() == [MID_LEFT, MID_RIGHT, 7, 9]
    assert streams["time"][:4].tolist() == [0, 0, 1, 1]
    assert streams["side"][:4].tolist() == [0, 1, 0, 1]
    assert streams["weight"].tolist() == [1, 1, 1, 1, 0, 0]


def test_both_ends_with_an_even_target_end_in_the_left_slot():
    streams = laid_out([6, 7, 8, 9], "mid")

    assert streams["targets"][:5].tolist() == [6, 9, 7, 8, EOS]
    assert streams["weight"].tolist() == [1, 1, 1, 1, 1, 0]
    # the uncounted right slot of the last step reads what it will read in generation
    assert streams["inputs"][:6].tolist() == [MID_LEFT, MID_RIGHT, 6, 9, 7, 8]


def test_a_slot_sees_its_own_step_and_those_before():
    time = ops.convert_to_tensor(np.array([0, 0, 1, 1], "int32"))

    seen = ops.convert_to_numpy(visible(time, time)).astype(int).tolist()

    assert seen == [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]


@given(st.lists(st.integers(6, 50), max_size=9), st.sampled_from(ORDERS))
def test_the_stream_is_the_sentence_in_another_order(target, order):
    streams = laid_out(target, order, length=9)
    stream = streams["targets"]
    written = stream[: len(target)]

    assert sentence_of(written, order).tolist() == target
    assert stream[len(target)] == EOS
    assert (stream[len(target) + 1 :] == PAD).all()
    assert streams["weight"].sum() == len(target) + 1


@given(st.lists(st.integers(6, 50), max_size=9), st.sampled_from(ORDERS))
def test_a_slot_reads_the_token_of_the_step_before(target, order):
    streams = laid_out(target, order, length=9)
    step = tokens_per_step(order)
    written = len(target)

    assert (
        streams["inputs"][step : step + written].tolist() == streams["targets"][:written].tolist()
    )


def test_an_unknown_order_names_the_known_ones():
    with pytest.raises(
        ValueError, match=r"`order` must be one of l2r, r2l, mid, received order='middle'"
    ):
        check_order("middle")
