"""Tokens read with their neighbours: the equation, what padding may not do, and what it is for."""

import keras
import numpy as np
import pytest
from keras import ops

from kooler.seq2seq import Seq2Seq
from kooler.seq2seq.ctranslate2_export import export_ctranslate2
from kooler.seq2seq.neighbours import Neighbours
from kooler.seq2seq.settings import Settings
from tests.seq2seq.small_model import small_model


def test_each_token_takes_from_both_sides():
    random = np.random.default_rng(0)
    x, filled = (
        random.standard_normal((2, 5, 4)),
        np.arange(5) < [[5], [2]],
    )
    layer = Neighbours()
    layer.build(4)
    (weights,) = layer.variables
    before, own, after = ops.convert_to_numpy(weights).astype("float64")

    expected = x.copy()
    for row, i in np.ndindex(2, 5):
        for place, matrix in ((i - 1, before), (i, own), (i + 1, after)):
            if 0 <= place < 5 and filled[row, place]:
                expected[row, i] += x[row, place] @ matrix

    found = layer.call(ops.convert_to_tensor(x.astype("float32")), ops.convert_to_tensor(filled))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=0, atol=2e-6)


def test_padding_changes_nothing():
    model = small_model(12, neighbours=True, layers=1)
    target = np.array([[6, 7]], "int32")

    alone, padded = (
        ops.convert_to_numpy(model.call({"source": np.array([source]), "target": target})["nll"])
        for source in ([10, 6], [10, 6, 0, 0, 0])
    )

    np.testing.assert_allclose(padded, alone, rtol=0, atol=2e-5)


def test_a_place_sees_its_neighbours_and_no_further():
    layer = Neighbours()
    layer.build(4)
    x = np.random.default_rng(0).standard_normal((1, 6, 4)).astype("float32")
    changed = x.copy()
    changed[0, 2] += 1
    filled = np.ones((1, 6), bool)

    before, after = (
        ops.convert_to_numpy(layer.call(ops.convert_to_tensor(part), filled))
        for part in (x, changed)
    )

    moved = np.abs(after - before).max(axis=-1)[0] > 1e-6
    assert moved.tolist() == [False, True, True, True, False, False]


@pytest.mark.compiles
def test_going_on_with_a_copy_is_learned_sooner():
    random = np.random.default_rng(0)
    source = random.permuted(np.tile(np.arange(6, 20), (512, 1)), axis=1)[:, :10].astype("int32")
    first = random.integers(0, 7, 512)
    target = source[np.arange(512)[:, None], first[:, None] + np.arange(4)]  # four in a row
    losses = {}
    for neighbours in (True, False):
        keras.utils.set_random_seed(0)
        settings = {"orders": ("l2r",), "width": 32, "pointer": True, "label_smoothing": 0.0}
        model = small_model(20, layers=1, neighbours=neighbours, **settings)
        model.compile(keras.optimizers.Adam(5e-3))
        data = {"source": source, "target": target}
        history = model.fit(data, batch_size=16, epochs=8, verbose=0)
        losses[neighbours] = history.history["loss"][-1]

    assert losses[True] < losses[False] - 0.5


def test_a_model_without_is_what_it_was():
    plain, other = (small_model(12, layers=1, neighbours=one) for one in (False, True))

    assert {v.path for v in other.variables} - {v.path for v in plain.variables}
    assert len(other.variables) == len(plain.variables) + 1
    assert Seq2Seq.from_config(other.get_config()).neighbours is not None
    assert plain.neighbours is None


def test_what_does_not_go_together(tmp_path):
    with pytest.raises(ValueError, match="`neighbours` is for Transformers, received"):
        Settings(neighbours=True, architecture="recurrent")
    with pytest.raises(ValueError, match="`neighbours` is for Transformers, received"):
        Seq2Seq(12, neighbours=True, architecture="recurrent")
    with pytest.raises(ValueError, match="received a model with pointer and neighbours"):
        export_ctranslate2(small_model(12, pointer=True, neighbours=True), tmp_path)
