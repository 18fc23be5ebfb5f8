"""The gradients of an unfinished accumulation window leak into the next `fit`.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX, PyTorch and TensorFlow.

What happens: with `gradient_accumulation_steps=2` and three batches an epoch, the gradient of the
third stays in the accumulator when `fit` ends. The model that is returned, evaluated and saved has
not seen it, and the next `fit`, maybe on other data, begins with it. With fewer batches than steps
nothing is ever learned.

What is expected: the last window is applied at the end of `fit` (scaled by what it holds), or
dropped; at least there is a way to ask for it.

Cause: `BaseOptimizer` counts `_iterations` modulo the steps and knows nothing of epochs;
`finalize_variable_values` does not look at the accumulators.

Suggested fix: apply what is there in `finalize_variable_values`, and reset the position.

Way round it: `kooler.optimizers.Accumulate(optimizer, steps, on_partial="apply" | "carry" |
"drop")`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import numpy as np


class Slopes(keras.utils.PyDataset):
    """Three batches of one example; the gradients of the weight are 1, 2 and 3."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((1, 1), index + 1.0), np.zeros((1, 1))


def weight_after_fit(optimizer):
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer, loss=lambda target, prediction: prediction)
    model.fit(Slopes(), shuffle=False, verbose=0)
    return round(float(model.get_weights()[0][0, 0]), 4)


def with_keras():
    return weight_after_fit(keras.optimizers.SGD(1.0, gradient_accumulation_steps=2))


def with_kooler():
    from kooler.optimizers import Accumulate

    return weight_after_fit(Accumulate(keras.optimizers.SGD(1.0), 2))


if __name__ == "__main__":
    expected, theirs = -(1 + 2) / 2 - 3.0, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
