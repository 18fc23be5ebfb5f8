"""On PyTorch, of variables with the same path only one is trained rightly.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on PyTorch. Nearest: keras#19885 and #19908, in
whose discussion paths are held to be unique.

What happens: two sub-layers with the same explicit name, each built when it is first called, have
variables with the same path. Both are trained, but the gradient of the first is never cleared, so
its steps become larger and larger; `model.parameters()` lacks it. There is no error and no
warning.

What is expected: the same training as on JAX and TensorFlow, or an error.

Cause: `TorchLayer._track_variables` in `backend/torch/layer.py` registers variables in a
dictionary by `variable.path`, and the last one wins. `Model.zero_grad()` clears what is
registered.

Suggested fix: register by the position of the variable (as state dictionaries already are), or
make paths unique.

Way round it: `kooler.layers.Layer`, which builds sub-layers within their parent, one path each.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import sys

import keras
import numpy as np


def one_weight(name="part"):
    return keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name=name)


class Two(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.left, self.right = one_weight(), one_weight()

    def build(self, shape):
        self.left.build(shape)
        self.right.build(shape)

    def call(self, x):
        return self.left(x) + self.right(x)


def weights_after_three_steps(layer):
    """The gradient of each weight is 1."""
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda target, prediction: prediction)
    for _ in range(3):
        model.train_on_batch(np.ones((1, 1)), np.ones((1, 1)))
    return [float(weight[0, 0]) for weight in model.get_weights()]


def with_keras():
    return weights_after_three_steps(Two())


def with_kooler():
    from kooler.layers import Layer

    class TwoParts(Layer):
        def call(self, x):
            return self.sub("left", one_weight)(x) + self.sub("right", one_weight)(x)

    return weights_after_three_steps(TwoParts())


if __name__ == "__main__":
    expected, theirs = [-3.0, -3.0], with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
