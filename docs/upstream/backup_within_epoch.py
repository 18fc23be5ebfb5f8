"""`BackupAndRestore(save_freq=...)` begins an interrupted epoch again.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704, whatever the backend.

What happens: a training is interrupted after 4 of 10 batches; what goes on from the backup, which
has the weights after 4, trains on all 10 again. The four batches count twice.

What is expected: 6 more batches, or a sentence in the documentation that the epoch begins anew.

Cause: `BackupAndRestore` writes `batch` into its metadata and never reads it; `fit` has only
`initial_epoch`.

Suggested fix: skip the batches that were seen, or drop `save_freq` in batches.

Way round it: `kooler.callbacks.Checkpoint` with a `kooler.data.Stream`: the same batches and the
same bits as without the interruption.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import contextlib
import sys
import tempfile

import keras
import numpy as np

X, Y = np.ones((10, 1)), np.ones((10, 1))


class Count(keras.callbacks.Callback):
    """Counts batches, and interrupts the first training after four."""

    batches = 0

    def on_train_batch_begin(self, batch, logs=None):
        if Count.batches == 4 and batch == 4:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        Count.batches += 1


def batches_of(train):
    """How many batches an epoch of ten has that is interrupted and goes on."""
    Count.batches = 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
            model.compile("sgd", loss="mse")
            with contextlib.suppress(KeyboardInterrupt):
                train(model, folder)
    return Count.batches


def with_keras():
    def train(model, folder):
        backup = keras.callbacks.BackupAndRestore(folder, save_freq=1)
        model.fit(X, Y, batch_size=1, verbose=0, shuffle=False, callbacks=[backup, Count()])

    return batches_of(train)


def with_kooler():
    from kooler.callbacks import Checkpoint
    from kooler.data import Stream

    def train(model, folder):
        stream, checkpoint = Stream((X, Y), batch_size=1), Checkpoint(folder, every=1)
        callbacks = [checkpoint, Count()]
        model.fit(stream, verbose=0, callbacks=callbacks, **checkpoint.restore(model, stream))

    return batches_of(train)


if __name__ == "__main__":
    expected, theirs = 10, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
