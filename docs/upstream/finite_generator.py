"""A generator that ends is read again for its first two batches, in every epoch.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX, PyTorch and TensorFlow.

What happens: `fit(generator, epochs=3)` with a generator of five batches trains on 5, 2 and 2
batches: the second and the third epoch are the first two batches again.

What is expected: an error, or that the training ends with a warning after the first epoch.

Cause: `peek_and_restore` in `generator_data_adapter.py` returns `lambda: itertools.chain(batches,
generator)`. Each epoch calls it, and puts the batches that were looked at before the exhausted
generator once more.

Suggested fix: chain the batches once; an exhausted generator then gives an empty epoch, for which
`fit` has its warning already.

Way round it: `kooler.data.Stream(function)`, which calls the function that makes the generator for
each epoch.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys
import warnings

import keras
import numpy as np


class Count(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = []

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.batches[-1] += 1


def five():
    for _ in range(5):
        yield np.ones((2, 1)), np.ones((2, 1))


def batches_in_epochs(data):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    count = Count()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "Your input ran out of data"
        model.fit(data, epochs=3, verbose=0, callbacks=[count])
    return count.batches


def with_keras():
    return batches_in_epochs(five())


def with_kooler():
    from kooler.data import Stream

    return batches_in_epochs(Stream(five))


if __name__ == "__main__":
    expected, theirs = [5, 5, 5], with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
