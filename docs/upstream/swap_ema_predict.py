"""`SwapEMAWeights` leaves the average in the model after `predict`.

Seen with Keras 3.15.1 on JAX, PyTorch and TensorFlow; mended in 3.16.0.dev2026102704. Nothing to
report.

What happens: after `model.predict(x, callbacks=[SwapEMAWeights()])` the model has the averaged
weights, and the optimizer's average has the trained ones.

What is expected: the weights are those from before, as after `evaluate`.

Cause: `SwapEMAWeights.on_predict_end` tests `if not self._ema_weights_in_model`; `on_test_end` has
the right condition, without `not`.

Suggested fix: remove the `not`.

Way round it: `kooler.callbacks.AveragedWeights`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import numpy as np

X, Y = np.ones((8, 1)), np.ones((8, 1))


def is_the_same_after_predict(optimizer, callback):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse")
    for _ in range(5):
        model.train_on_batch(X, Y)
    before = model.get_weights()
    model.predict(X, verbose=0, callbacks=[callback])
    return all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def with_keras():
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
    return is_the_same_after_predict(optimizer, keras.callbacks.SwapEMAWeights())


def with_kooler():
    from kooler.callbacks import AveragedWeights
    from kooler.optimizers import EMA, WeightAverage

    optimizer = WeightAverage(keras.optimizers.SGD(0.1), EMA(0.9))
    return is_the_same_after_predict(optimizer, AveragedWeights())


if __name__ == "__main__":
    expected, theirs = True, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
