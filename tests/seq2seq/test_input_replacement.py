"""Replaced inputs: what may change, what may come, how often, and that off is off."""

import keras
import numpy as np
import pytest
from keras import ops

from kooler.seq2seq import Seq2Seq
from kooler.seq2seq.input_replacement import replaced
from kooler.seq2seq.order import layout
from kooler.seq2seq.reserved_ids import RESERVED
from tests.seq2seq.small_model import small_model

TARGETS = np.tile(np.array([[7, 9, 6, 11, 8, 10, 0, 0]], "int32"), (500, 1))


def streams_of(target=TARGETS):
    order = ops.convert_to_tensor(np.array([[0, 1, 2]], "int32"))
    return layout(ops.convert_to_tensor(target[:, None]), order)


def inputs_of(streams, share, seed=3):
    seed = keras.random.SeedGenerator(seed)
    return ops.convert_to_numpy(replaced(streams, share, seed).inputs)


def test_half_of_the_targets_lose_a_share_of_their_tokens_to_others_of_theirs():
    streams = streams_of()
    before, after = ops.convert_to_numpy(streams.inputs), inputs_of(streams, 0.3)
    moved = (after != before).sum(-1)  # [B, R]
    tokens = before >= RESERVED

    np.testing.assert_array_equal(after[~tokens], before[~tokens])  # tags, EOS and padding stay
    assert np.isin(after[tokens], [6, 7, 8, 9, 10, 11]).all()
    # of six tokens 0.3 · 5/6 change, in one half: 0.75 on the mean of all, 1.5 of the touched
    np.testing.assert_allclose(moved.mean(), 0.75, atol=0.1)
    untouched = 0.5 + 0.5 * (1 - 0.3 * 5 / 6) ** 6
    np.testing.assert_allclose((moved == 0).mean(), untouched, atol=0.04)


@pytest.mark.compiles
def test_each_token_of_the_target_comes_equally_often():
    streams = streams_of()
    before, after = ops.convert_to_numpy(streams.inputs), inputs_of(streams, 0.999)
    touched = (after != before).any(-1)
    drawn = after[touched][before[touched] >= RESERVED]

    counts = np.bincount(drawn, minlength=12)[6:] / len(drawn)
    np.testing.assert_allclose(counts, 1 / 6, atol=0.02)


@pytest.mark.compiles
def test_what_must_be_predicted_stays_and_empty_targets_have_nothing_to_lose():
    target = np.array([[0, 0], [7, 0]], "int32")
    streams = streams_of(target)
    found = replaced(streams, 0.999, keras.random.SeedGenerator(0))

    for name in ("targets", "time", "side", "weight"):
        assert getattr(found, name) is getattr(streams, name)
    np.testing.assert_array_equal(  # one token can only become itself
        ops.convert_to_numpy(found.inputs), ops.convert_to_numpy(streams.inputs)
    )


@pytest.mark.compiles
def test_equal_seeds_replace_equally_and_a_seed_moves_on():
    streams, seed = streams_of(TARGETS[:20]), keras.random.SeedGenerator(3)
    first, second = (ops.convert_to_numpy(replaced(streams, 0.3, seed).inputs) for _ in range(2))

    np.testing.assert_array_equal(first, inputs_of(streams, 0.3))
    assert (first != second).any()


@pytest.mark.compiles
def test_a_model_reads_them_in_training_only():
    batch = {"source": TARGETS[:8, :4], "target": TARGETS[:8, :6]}
    losses = []
    for share in (0.0, 0.9):
        model = small_model(12, layers=1, input_replacement=share)
        losses.append([_loss(model, batch, training) for training in (False, True)])

    assert losses[0][0] == losses[0][1] == losses[1][0]
    assert losses[1][1] != losses[1][0]


def _loss(model, batch, training):
    parts = model.call({k: ops.convert_to_tensor(v) for k, v in batch.items()}, training=training)
    return float(ops.convert_to_numpy(ops.sum(parts["nll"] * parts["weight"])))


def test_without_it_a_model_has_the_variables_it_had():
    assert not hasattr(small_model(12, layers=1), "replacement_seed")


def test_a_share_of_everything_is_refused():
    with pytest.raises(ValueError, match="`input_replacement` must be at least 0 and below 1, rec"):
        Seq2Seq(12, input_replacement=1.0)
