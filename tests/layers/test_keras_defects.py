"""What Keras's own layers do with masks, weights and sub-layers, and that ours do it right.

Each test first shows Keras's result.  When one of these fails, Keras has mended it: then the pages
that tell of it need a new sentence, and the test may go.  More of them stand beside the layer that
is concerned: `test_parametrizations.py`, `test_bidirectional.py`, `test_layer.py`,
`test_embedding_dense.py`.
"""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.layers import (
    Layer,
    MaskedConv1D,
    MaskedGlobalMaxPooling1D,
    SpectralNorm,
    check_masks,
    repair_masks,
    reparametrize,
)

IDS = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
X = np.full((1, 4, 2), -1.0, "float32")
MASK = np.array([[True, True, False, False]])


def array(x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def masked(x: np.ndarray) -> Any:
    """With the mask that Keras attaches: steps of zeros are padding."""
    return layers.Masking()(ops.convert_to_tensor(x * MASK[..., None]))


def test_a_an_operator_drops_the_mask_silently() -> None:
    inputs = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(9, 3, mask_zero=True)(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(embedded * 2.0))
    cut = array(model(IDS[:1, :3]))
    assert np.abs(array(model(IDS[:1])) - cut).max() > 1e-4

    assert not check_masks(model, IDS)
    repair_masks(model)
    np.testing.assert_allclose(array(model(IDS[:1])), cut, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking:UserWarning")
def test_b_the_largest_value_is_taken_from_the_padding() -> None:
    assert array(layers.GlobalMaxPooling1D()(masked(X))).max() == 0.0

    assert array(MaskedGlobalMaxPooling1D()(masked(X))).max() == -1.0


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking:UserWarning")
def test_c_a_convolution_reads_the_padding() -> None:
    poisoned = ops.convert_to_tensor(np.where(MASK[..., None], X, 100.0).astype("float32"))
    theirs, ours = (
        kind(1, 3, padding="same", use_bias=False) for kind in (layers.Conv1D, MaskedConv1D)
    )
    alone = array(theirs(ops.convert_to_tensor(X[:, :2])))
    ours(X, mask=MASK)
    ours.set_weights(theirs.get_weights())
    assert np.abs(array(theirs(poisoned))[:, :2] - alone).max() > 1.0

    np.testing.assert_allclose(array(ours(poisoned, mask=MASK))[:, :2], alone, atol=1e-6)


def test_d_spectral_norm_knows_kernels_and_embeddings_only() -> None:
    with pytest.raises(ValueError, match="kernel"):
        layers.SpectralNormalization(layers.LSTM(2))(X)

    rnn = layers.LSTM(2)
    rnn(X)
    reparametrize(rnn, "recurrent_kernel$", SpectralNorm(exact=True))
    sigma = np.linalg.norm(array(rnn.cell.recurrent_kernel), 2)
    assert sigma == pytest.approx(1.0, abs=1e-5)


def block(base: Any) -> Any:
    class Block(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    return Block()


def late(base: Any) -> Any:
    class Late(base):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            if base is Layer:
                return self.sub("dense", lambda: layers.Dense(3))(x)
            self.dense = layers.Dense(3)
            return self.dense(x)

    return Late()


@pytest.mark.filterwarnings("ignore:.*build\\(\\)")
def test_e_a_layer_says_that_it_is_built_and_has_no_weights() -> None:
    theirs = block(layers.Layer)
    theirs.build((None, 2))
    assert (theirs.built, theirs.weights) == (True, [])

    ours = block(Layer)
    ours.build((None, 2))
    assert [tuple(weight.shape) for weight in ours.weights] == [(2, 3), (3,)]


def test_f_a_sub_layer_made_in_call_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        late(layers.Layer)(X)

    ours = late(Layer)
    assert array(ours(X)).shape == (1, 4, 3)
    assert len(ours.weights) == 2
