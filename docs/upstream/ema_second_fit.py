"""`use_ema=True`: a second `fit` crashes on JAX.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX; PyTorch and TensorFlow are right.

What happens: after a `fit` with `use_ema=True` the next `fit` (or `train_on_batch`) raises
"Attempt to donate the same buffer twice". The model cannot be used any more: its state is gone.

What is expected: training goes on.

Cause: `BaseOptimizer._overwrite_model_variables_with_average_value`, called at the end of `fit` by
`finalize_variable_values`, does `var.assign(average_var)`. On JAX both then hold the same array,
and the train step of `JAXTrainer` is compiled with `donate_argnums=0`.

Suggested fix: assign a copy, `var.assign(ops.copy(average_var))`.

Way round it: `kooler.optimizers.WeightAverage`, which never puts the average into the model unless
it is asked to, and then gives the weights back.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import numpy as np


def fitted_twice(optimizer):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse")
    try:
        for _ in range(2):
            model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    return "two fits"


def with_keras():
    return fitted_twice(keras.optimizers.SGD(0.1, use_ema=True))


def with_kooler():
    from kooler.optimizers import EMA, WeightAverage

    return fitted_twice(WeightAverage(keras.optimizers.SGD(0.1), EMA(0.99)))


if __name__ == "__main__":
    expected, theirs = "two fits", with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
