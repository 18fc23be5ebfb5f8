"""`SwapEMAWeights(swap_on_epoch=True)` loses the average when the training is stopped early.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on PyTorch and TensorFlow (on JAX `fit` crashes
here, see ema_second_fit.py).

What happens: a callback sets `stop_training`, as `EarlyStopping` does, and the model that `fit`
returns has the trained weights, not their average. Without an early stop it has the average.

What is expected: the same in both cases.

Cause: `SwapEMAWeights.on_epoch_end` saves the average from being overwritten only `if epoch ==
self.params["epochs"] - 1`. After an early stop `finalize_variable_values` assigns what it takes
for the average, which are the trained weights that were swapped out.

Suggested fix: look at `model.stop_training` too, or do it in `on_train_end`, if that came before
`finalize_variable_values`.

Way round it: `with kooler.callbacks.averaged_weights(model):`, at any time.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import contextlib
import sys

import keras
import numpy as np

X, Y = np.ones((8, 1)), np.ones((8, 1))


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 1


def weight_after(optimizer, epochs, callbacks, look=lambda model: contextlib.nullcontext()):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(optimizer, loss="mse")
    model.fit(X, Y, epochs=epochs, callbacks=callbacks, verbose=0)
    with look(model):
        return round(float(model.get_weights()[0][0, 0]), 5)


def with_keras():
    def weight(epochs):
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        return weight_after(optimizer, epochs, [swap, Stop()])

    return weight(epochs=5) == weight(epochs=2)


def with_kooler():
    from kooler.callbacks import averaged_weights
    from kooler.optimizers import EMA, WeightAverage

    def weight(epochs):
        optimizer = WeightAverage(keras.optimizers.SGD(0.1), EMA(0.5))
        return weight_after(optimizer, epochs, [Stop()], averaged_weights)

    return weight(epochs=5) == weight(epochs=2)


if __name__ == "__main__":
    expected, theirs = True, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
