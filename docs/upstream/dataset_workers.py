"""The worker processes of a `PyDataset` draw the same random numbers.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704, whatever the backend.

What happens: with `use_multiprocessing=True` every worker begins with a copy of NumPy's random
state, and every epoch again. So of 16 augmented samples only a few are different, and the second
epoch repeats the first.

What is expected: 16 samples with 16 random numbers.

Cause: `PyDatasetEnqueuer` forks its pool. `init_pool_generator` seeds a worker only where there is
a `random_seed`, and nobody gives one.

Suggested fix: seed NumPy's and Python's random state by worker and epoch.

Way round it: `kooler.data.Stream` with `random_generator()`, whose numbers belong to the sample:
they are seeded by (seed, epoch, index).
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import sys

import keras
import numpy as np

EPOCHS, BATCHES = 2, 8


class Augmented(keras.utils.PyDataset):
    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        return np.random.random((1, 1)), np.zeros((1, 1))


class AugmentedSamples:
    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        from kooler.data import random_generator

        return random_generator().random(1), np.zeros(1)


class Identity(keras.layers.Layer):
    """Writes down the numbers that arrive."""

    seen = frozenset()

    def call(self, x):
        self.seen |= set(keras.ops.convert_to_numpy(x).ravel().tolist())
        return x


def distinct_inputs(data):
    identity = Identity()
    model = keras.Sequential([identity, keras.layers.Dense(1)])
    model.build((None, 1))
    identity.seen = frozenset()
    model.compile("sgd", loss="mse", run_eagerly=True)
    model.fit(data, epochs=EPOCHS, verbose=0)
    return len(identity.seen - {0.0, 1.0})


def with_keras():
    return distinct_inputs(Augmented(workers=4, use_multiprocessing=True))


def with_kooler():
    from kooler.data import Stream

    return distinct_inputs(Stream(AugmentedSamples(), batch_size=1, workers=2, processes=False))


if __name__ == "__main__":
    expected, theirs = EPOCHS * BATCHES, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
