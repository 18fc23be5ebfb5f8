"""On TensorFlow a fit takes more batches from a generator than it trains on.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on TensorFlow; JAX and PyTorch are right.

What happens: a `fit` of three steps reads further batches ahead, which no later `fit` ever sees;
and whoever else asks the generator meanwhile, a callback with `next(generator)` or the validation
with the same generator, gets "ValueError: generator already executing".

What is expected: what happens on JAX and PyTorch: the next fit goes on with the fourth batch.

Cause: `GeneratorDataAdapter.get_tf_dataset` ends in `ds.prefetch(tf.data.AUTOTUNE)`, which reads
the generator in a thread of its own, ahead of the training.

Suggested fix: no prefetch for generators, or an argument to switch it off.

Way round it: `kooler.data.Stream`, read on demand by one reader.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import sys

import keras
import numpy as np

STEPS = 3


def numbers():
    """Batches whose loss is their number: 0, 1, 2 and so on."""
    for number in range(100):
        yield np.zeros((1, 1)), np.full((1, 1), float(number))


def losses_of_two_fits(data):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(
        keras.optimizers.SGD(0.0), loss=lambda target, prediction: target + 0.0 * prediction
    )
    return [
        round(model.fit(data, steps_per_epoch=STEPS, verbose=0).history["loss"][0], 2)
        for _ in range(2)
    ]


def with_keras():
    return losses_of_two_fits(numbers())


def with_kooler():
    from kooler.data import Stream

    return losses_of_two_fits(Stream(numbers))


if __name__ == "__main__":
    expected, theirs = [1.0, 4.0], with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
