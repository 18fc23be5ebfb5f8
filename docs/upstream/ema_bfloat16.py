"""`use_ema` never moves for weights in bfloat16.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX and TensorFlow.

What happens: with variables in bfloat16 and `ema_momentum=0.999` the average stays what it was
after the first update, however long the training is.

What is expected: it follows the weights.

Cause: the average and `momentum` have the dtype of the variable
(`_update_model_variables_moving_average`), and 0.999 rounds to 1 in bfloat16.

Suggested fix: keep the average in float32, where the difference of weight and average is added to
it.

Way round it: `kooler.optimizers.WeightAverage`, whose averages are float32.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import numpy as np
from keras import ops


def moves(optimizer, average):
    weight = keras.Variable(np.zeros(1), dtype="bfloat16")
    optimizer.build([weight])
    seen = []
    for _ in range(50):
        optimizer.apply([-ops.ones(1, "bfloat16")], [weight])
        seen.append(float(ops.convert_to_numpy(ops.cast(average(optimizer), "float32"))[0]))
    return seen[-1] > seen[0]


def with_keras():
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.999)
    return moves(
        optimizer, lambda o: next(v for v in o.variables if v.path.endswith("average")).value
    )


def with_kooler():
    from kooler.optimizers import EMA, WeightAverage

    optimizer = WeightAverage(keras.optimizers.SGD(1.0), EMA(0.999))
    return moves(optimizer, lambda o: o.average_slots["average"][0].value)


if __name__ == "__main__":
    expected, theirs = True, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
