"""optax: `MultiSteps.has_updated` is true after a step that was skipped.

Seen with optax 0.2.8.

What happens: with `should_skip_update_fn` a gradient that is not finite is skipped "as if it never
happened". If it is the first of a window, `has_updated` says afterwards that the parameters have
been updated.

What is expected: false, since nothing has changed.

Cause: `has_updated` is `mini_step == 0 and gradient_step > 0`, which is true after an update, and
stays true until the next gradient is taken in.

Suggested fix: keep in the state whether the last call emitted an update.

Way round it: compare `gradient_step` before and after. `kooler.optimizers.Accumulate` within
`keras.optimizers.LossScaleOptimizer` skips in the same way, and its `iterations` count updates.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import numpy as np
import optax

WINDOW = [1.0, 1.0]  # an update
SKIPPED = np.inf


def with_optax():
    """Whether the optimizer says that the last call has updated."""
    skip = optax.transforms.skip_not_finite
    optimizer = optax.MultiSteps(optax.sgd(1.0), len(WINDOW), should_skip_update_fn=skip)
    weight = np.zeros(1, "float32")
    state = optimizer.init(weight)
    for gradient in [*WINDOW, SKIPPED]:
        _, state = optimizer.update(np.full(1, gradient, "float32"), state, weight)
    return bool(optimizer.has_updated(state))


def with_kooler():
    from kooler.optimizers import Accumulate

    accumulate = Accumulate(keras.optimizers.SGD(1.0), len(WINDOW))
    optimizer = keras.optimizers.LossScaleOptimizer(accumulate, initial_scale=1.0)
    weights = [keras.ops.zeros(1)]
    optimizer.build([keras.Variable(weights[0])])
    state, updates = [variable.value for variable in optimizer.variables], []
    for gradient in [*WINDOW, SKIPPED]:
        given = [keras.ops.full((1,), gradient)]
        weights, state = optimizer.stateless_apply(state, given, weights)
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)
        updates.append(int(accumulate.inner_optimizer.iterations))
    return updates[-1] > updates[-2]


if __name__ == "__main__":
    expected, theirs = False, with_optax()
    print(f"optax {optax.__version__}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
