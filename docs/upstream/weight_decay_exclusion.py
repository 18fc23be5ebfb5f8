"""`exclude_from_weight_decay(var_names=...)` excludes nothing on JAX and PyTorch.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX and PyTorch; TensorFlow is right.

What happens: `optimizer.exclude_from_weight_decay(var_names=["encoder"])` is accepted and without
effect: the weights of the layer "encoder" decay.

What is expected: what happens on TensorFlow, where they do not.

Cause: `BaseOptimizer._use_weight_decay` searches `variable.name`. On TensorFlow that is the name
of a `tf.Variable`, which is a path such as "encoder/kernel"; elsewhere it is "kernel".

Suggested fix: search `variable.path`, and take the Keras variable on TensorFlow too.

Way round it: `ParamGroups([Group("encoder", weight_decay=0.0)], optimizer)` of kooler, which
searches the path, and refuses a pattern that matches nothing.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
from keras import ops


def encoder_after_a_step(make_optimizer):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="encoder")])
    model.set_weights([keras.ops.ones((1, 1)), keras.ops.ones(1)])
    zeros = [ops.zeros(v.shape) for v in model.trainable_variables]
    make_optimizer().apply(zeros, model.trainable_variables)
    return float(ops.convert_to_numpy(model.layers[0].kernel)[0, 0])


def with_keras():
    def make():
        optimizer = keras.optimizers.SGD(1.0, weight_decay=0.5)
        optimizer.exclude_from_weight_decay(var_names=["encoder"])
        return optimizer

    return encoder_after_a_step(make)


def with_kooler():
    from kooler.optimizers import Group, ParamGroups

    groups = [Group("encoder", weight_decay=0.0)]
    return encoder_after_a_step(
        lambda: ParamGroups(groups, keras.optimizers.SGD(1.0, weight_decay=0.5))
    )


if __name__ == "__main__":
    expected, theirs = 1.0, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
