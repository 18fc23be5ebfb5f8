"""`ScheduleFreeAdamW` throws the initial weights away on TensorFlow.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on TensorFlow; JAX and PyTorch are right.

What happens: in `fit` and `train_on_batch` the first update moves every weight to about 0, however
small the learning rate: a model that was loaded is lost.

What is expected: a first step in the size of the learning rate.

Cause, as far as we can tell from reading: `ScheduleFreeAdamW.build` copies the weights into its
slot by `self.assign(momentum, copy)`. The trainer of TensorFlow builds the optimizer within the
function that it traces. There the variable is lifted out of the graph, with zeros, and the
assignment stays behind in a trace that is not the one that runs.

Suggested fix: create the slot with its value (`add_variable_from_reference(initializer=...)`), or
build the optimizer in `TensorFlowTrainer` before it traces.

Way round it: any wrapper of kooler, which builds the optimizer inside of it before the step is
traced; or `model.optimizer.build(model.trainable_variables)` before `fit`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import sys

import keras
import numpy as np

RATE = 1e-6


def weight_after_a_step(optimizer):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, loss="mse")
    model.train_on_batch(np.ones((4, 1)), np.zeros((4, 1)))
    return round(float(model.get_weights()[0][0, 0]), 3)


def with_keras():
    return weight_after_a_step(keras.optimizers.ScheduleFreeAdamW(RATE))


def with_kooler():
    from kooler.optimizers import Accumulate

    return weight_after_a_step(Accumulate(keras.optimizers.ScheduleFreeAdamW(RATE), 1))


if __name__ == "__main__":
    expected, theirs = 1.0, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
