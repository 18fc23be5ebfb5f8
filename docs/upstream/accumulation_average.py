"""With `gradient_accumulation_steps`, `use_ema` averages once a batch and not once an update.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX, PyTorch and TensorFlow.

What happens: with N accumulated batches the decay of the average is m to the power of N an update,
so the average lags behind much less than it was told to. `ema_overwrite_frequency` also fires on
all N batches of the update that it names.

What is expected: what the documentation of `gradient_accumulation_steps` says: "EMA frequency will
look at 'accumulated' iterations value (optimizer steps // gradient_accumulation_steps)".

Cause: `BaseOptimizer.apply` calls `_update_model_variables_moving_average` (on JAX
`_backend_apply_gradients`) after every batch, whether or not the weights have moved.

Suggested fix: only where an update is applied, next to `_backend_update_step`.

Way round it: `WeightAverage(Accumulate(...))` or `Accumulate(WeightAverage(...))` of kooler.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
from keras import ops

STEPS, DECAY = 2, 0.5


def average_of(optimizer):
    """Eight gradients of -1: the weight is 1, 2, 3, 4 after four updates of two batches."""
    weight = keras.Variable([0.0])
    for _ in range(8):
        optimizer.apply([-ops.ones(1)], [weight])
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    (slot,) = [v for v in inner.variables if v.path.endswith("average")]
    return round(float(ops.convert_to_numpy(slot)[0]), 4)


def sgd(**arguments):
    return keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=DECAY, **arguments)


def with_keras():
    return average_of(sgd(gradient_accumulation_steps=STEPS))


def with_kooler():
    from kooler.optimizers import Accumulate

    return average_of(Accumulate(sgd(), STEPS))


def by_hand():
    average = 1.0  # the first update copies
    for weight in (2.0, 3.0, 4.0):
        average = DECAY * average + (1 - DECAY) * weight
    return average


if __name__ == "__main__":
    expected, theirs = by_hand(), with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
