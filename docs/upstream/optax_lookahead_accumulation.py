"""optax: `MultiSteps` cannot hold `lookahead`.

Seen with optax 0.2.8. Nearest: optax#1429, that `lookahead` does not drop in.

What happens: `MultiSteps(lookahead(...))` raises a ValueError about tree structures in its first
update. The other order, `lookahead(MultiSteps(...))`, runs, and synchronises after so many small
batches instead of updates.

What is expected: three updates of two batches, then the slow weights move.

Cause: the gradients that `MultiSteps` accumulates have the structure of the parameters, which for
`lookahead` are pairs (`LookaheadParams`).

Suggested fix: let `lookahead` keep its slow weights in its state, as every other wrapper does.

Way round it: `Accumulate(Lookahead(...))` of kooler.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import numpy as np
import optax

SYNC, STEPS = 3, 2


def with_optax():
    """The weight after three updates of two gradients of one, at a rate of one."""
    lookahead = optax.lookahead(optax.sgd(1.0), SYNC, slow_step_size=0.5)
    optimizer = optax.MultiSteps(lookahead, STEPS)
    try:
        weights = optax.LookaheadParams.init_synced(np.zeros(1, "float32"))
        state = optimizer.init(weights)
        for _ in range(SYNC * STEPS):
            updates, state = optimizer.update(np.ones(1, "float32"), state, weights)
            weights = optax.apply_updates(weights, updates)
    except (ValueError, TypeError) as error:
        return type(error).__name__
    return float(weights.fast[0])


def with_kooler():
    from kooler.optimizers import Accumulate, Lookahead

    optimizer = Accumulate(Lookahead(keras.optimizers.SGD(1.0), SYNC, 0.5), STEPS)
    weight = keras.Variable([0.0])
    for _ in range(SYNC * STEPS):
        optimizer.apply([keras.ops.ones(1)], [weight])
    return float(keras.ops.convert_to_numpy(weight)[0])


if __name__ == "__main__":
    expected, theirs = -1.5, with_optax()
    print(f"optax {optax.__version__}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
