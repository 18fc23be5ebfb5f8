"""With `gradient_accumulation_steps`, constraints act after every batch and not after every update.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX, PyTorch and TensorFlow.

What happens: a constraint that does not leave a constrained weight alone (one with a `rate` below
1, such as `MinMaxNorm(rate=0.5)`, or one of one's own) changes the weights in batches that only
collect a gradient, so accumulation is not one large batch.

What is expected: weights move when an update is due, and only then.

Cause: the loop over `variable.constraint` in `BaseOptimizer.apply` stands outside of what is done
when the window is full.

Suggested fix: apply constraints where `_backend_update_step` is called.

Way round it: `kooler.optimizers.Accumulate`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
from keras import ops


def weights_after_batches(optimizer):
    weight = keras.Variable([16.0])
    weight.constraint = lambda value: value / 2
    seen = []
    for _ in range(4):
        optimizer.apply([ops.zeros(1)], [weight])
        seen.append(float(ops.convert_to_numpy(weight)[0]))
    return seen


def with_keras():
    return weights_after_batches(keras.optimizers.SGD(1.0, gradient_accumulation_steps=2))


def with_kooler():
    from kooler.optimizers import Accumulate

    return weights_after_batches(Accumulate(keras.optimizers.SGD(1.0), 2))


if __name__ == "__main__":
    expected, theirs = [16.0, 8.0, 8.0, 4.0], with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
