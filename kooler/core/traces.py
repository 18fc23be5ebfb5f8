"""Which program is being written down right now: can a value of then be used here?

JAX and TensorFlow run the body of a loop, a branch or a recomputed part once, to write it down as a
program of its own. A value from in there means nothing outside. On JAX its use is noticed only at
the very end, far from the cause; so whoever keeps values on their way (`Capture`, `log`) compares

    where = current_trace()      # when it begins
    where == current_trace()     # when it meets the value

PyTorch runs everything in Python, so there is only one place.
"""

from typing import Any

import keras


def current_trace() -> Any:
    """What is being traced; equal for two moments whose values may be used together."""
    backend = keras.backend.backend()
    if backend == "jax":
        from jax.extend import core

        return core.get_opaque_trace_state(convention="kooler")
    if backend == "tensorflow":
        import tensorflow as tf

        return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    return None
