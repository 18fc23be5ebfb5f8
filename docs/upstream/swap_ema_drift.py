"""`SwapEMAWeights` changes the weights by rounding, with each evaluation, on TensorFlow.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on TensorFlow.

What happens: evaluating during the training changes the training. In bfloat16 one evaluation moves
a weight by up to one per cent.

What is expected: the weights that come back are those that went.

Cause: `SwapEMAWeights._tf_swap_variables` exchanges two variables by `a += b; b = a - b; a -= b`,
which is not exact in floating point.

Suggested fix: read both values first, then assign both.

Way round it: `kooler.callbacks.AveragedWeights`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import sys

import keras
import numpy as np

X, Y = np.ones((8, 64)), np.ones((8, 1))


def is_the_same_after_evaluations(optimizer, callback):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse")
    for _ in range(5):
        model.train_on_batch(X, Y)
    before = model.get_weights()
    for _ in range(20):
        model.evaluate(X, Y, verbose=0, callbacks=[callback])
    return all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def with_keras():
    optimizer = keras.optimizers.SGD(0.01, use_ema=True, ema_momentum=0.9)
    return is_the_same_after_evaluations(optimizer, keras.callbacks.SwapEMAWeights())


def with_kooler():
    from kooler.callbacks import AveragedWeights
    from kooler.optimizers import EMA, WeightAverage

    optimizer = WeightAverage(keras.optimizers.SGD(0.01), EMA(0.9))
    return is_the_same_after_evaluations(optimizer, AveragedWeights())


if __name__ == "__main__":
    expected, theirs = True, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
