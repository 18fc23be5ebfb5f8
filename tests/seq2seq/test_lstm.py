"""LSTMs side by side: the published equations, and each as if it were alone."""

import keras
import numpy as np
import pytest
from keras import ops

from kooler.seq2seq.lstm import LSTMs, State

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((2, 5, 2, 3)).astype("float32")  # [N, L, C, D]


def drawn(layer):
    """Weights large enough to matter."""
    for variable in layer.weights:
        variable.assign(0.7 * GENERATOR.standard_normal(variable.shape))
    return [ops.convert_to_numpy(w).astype("float64") for w in layer.weights]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unrolled(x, kernel, bias, recurrent):
    """The hidden states [L, U] of one LSTM on one sequence [L, D], in float64."""
    hidden = cell = np.zeros(recurrent.shape[0])
    states = []
    for read in x.astype("float64"):
        i, f, g, o = np.split(read @ kernel + hidden @ recurrent + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        states.append(hidden)
    return np.stack(states)


def built():
    layer = LSTMs(4, 2)
    layer.build((None, None, 2, 3))
    return layer


def test_whole_sequences_and_single_steps_follow_the_equations():
    layer = built()
    kernel, bias, recurrent = drawn(layer)

    whole = ops.convert_to_numpy(layer.call(ops.convert_to_tensor(X)))
    state = State(ops.zeros((2, 2, 4)), ops.zeros((2, 2, 4)))
    second = State(ops.zeros((2, 1, 4)), ops.zeros((2, 1, 4)))

    for row in range(2):
        for copy in range(2):
            expected = unrolled(X[row, :, copy], kernel[copy], bias[copy], recurrent[copy])
            np.testing.assert_allclose(whole[row, :, copy], expected, atol=2e-6)
    for step in range(3):
        x = ops.convert_to_tensor(X[:, step])
        state, second = layer.step(x, state, (0, 1)), layer.step(x[:, 1:], second, (1,))
        np.testing.assert_allclose(ops.convert_to_numpy(state.hidden), whole[:, step], atol=2e-6)
        np.testing.assert_allclose(
            ops.convert_to_numpy(second.hidden), whole[:, step, 1:], atol=2e-6
        )


@pytest.mark.compiles
def test_each_copy_is_the_lstm_of_keras():
    layer = built()
    kernel, bias, recurrent = drawn(layer)
    found = ops.convert_to_numpy(layer.call(ops.convert_to_tensor(X)))[:, :, 1]
    other = keras.layers.LSTM(4, return_sequences=True)
    other.build((None, None, 3))
    other.set_weights([kernel[1], recurrent[1], bias[1]])

    np.testing.assert_allclose(found, ops.convert_to_numpy(other(X[:, :, 1])), atol=1e-6)


@pytest.mark.compiles
def test_each_copy_begins_as_if_it_were_alone():
    layer = LSTMs(64, 2)
    layer.build((None, None, 2, 64))
    kernel, bias, recurrent = (ops.convert_to_numpy(weight) for weight in layer.weights)

    assert abs(kernel).max() <= np.sqrt(6 / (64 + 256))  # the bound of Glorot, not of a convolution
    assert abs(kernel[0] - kernel[1]).max() > 0.1
    for copy in recurrent:
        np.testing.assert_allclose(copy @ copy.T, np.eye(64), atol=1e-5)
    assert bias[:, 64:128].min() == 1.0
    assert bias.sum() == 128.0
