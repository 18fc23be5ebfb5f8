"""`SpectralNormalization` is not applied at inference on JAX.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704 on JAX. Nearest: keras#20309, about its gradient.

What happens: after `fit` the layer predicts with the kernel as it was learned, whose largest
singular value is that of no normalised matrix. On PyTorch and TensorFlow it predicts with the
kernel of the last training call, which the update has moved since; and there the gradient does not
flow through the norm. So one layer is three different ones.

What is expected: the linear map of `predict` has the spectral norm 1 on every backend.

Cause: `SpectralNormalization.call` does `self.kernel.assign(new_kernel)` while it trains. On JAX
the assignment to a trainable variable inside `stateless_call` is not among the state that is
returned, so it is lost.

Suggested fix: keep the kernel as it is, compute kernel / sigma in every call, and let the inner
layer use that.

Way round it: `kooler.layers.reparametrize(model, "kernel$", SpectralNorm())`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import numpy as np


def norm_at_inference(dense, change=lambda model: None):
    model = keras.Sequential([keras.Input((4,)), dense])
    change(model)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")  # the weights do not move
    model.fit(np.ones((8, 4)), np.ones((8, 4)), verbose=0, epochs=3)
    matrix = model.predict(np.eye(4), verbose=0)
    return round(float(np.linalg.norm(matrix, 2)), 2)


def dense():
    large = keras.initializers.Constant(np.diag([5.0, 4.0, 3.0, 2.0]))
    return keras.layers.Dense(4, use_bias=False, kernel_initializer=large)


def with_keras():
    return norm_at_inference(keras.layers.SpectralNormalization(dense(), power_iterations=50))


def with_kooler():
    from kooler.layers import SpectralNorm, reparametrize

    return norm_at_inference(
        dense(), lambda model: reparametrize(model, "kernel$", SpectralNorm(iterations=50))
    )


if __name__ == "__main__":
    expected, theirs = 1.0, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
