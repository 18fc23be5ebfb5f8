"""`MultiOptimizer` accepts a pattern that matches no variable.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704, whatever the backend.

What happens: `OptimizerMap(Adam(), {"encodre/.*": SGD()})` with a typo is accepted, and the
encoder is trained by the default. Since patterns must match the whole path, whose beginning is
numbered ("sequential_2/encoder/kernel"), a pattern that fitted in one process fits no more in the
next.

What is expected: an error that names the pattern and the paths.

Cause: `OptimizerMap.__call__` looks for the pattern of a variable; nobody looks for the variables
of a pattern.

Suggested fix: in `MultiOptimizer.build`, refuse patterns that matched nothing.

Way round it: `kooler.optimizers.ParamGroups`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras


def outcome(make_optimizer):
    weight = keras.Variable([1.0], name="encoder")
    try:
        make_optimizer().build([weight])
    except ValueError:
        return "ValueError"
    return "accepted"


def with_keras():
    optimizers = keras.optimizers
    choice = optimizers.OptimizerMap(optimizers.Adam(), {"encodre": optimizers.SGD()})
    return outcome(lambda: optimizers.MultiOptimizer(choice))


def with_kooler():
    from kooler.optimizers import Group, ParamGroups

    groups = [Group("encodre", optimizer=keras.optimizers.SGD())]
    return outcome(lambda: ParamGroups(groups, keras.optimizers.Adam()))


if __name__ == "__main__":
    expected, theirs = "ValueError", with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
