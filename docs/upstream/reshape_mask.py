"""`Reshape` carries a mask on JAX, and drops it on PyTorch and TensorFlow.

Seen with Keras 3.15.1 and 3.16.0.dev2026102704: PyTorch and TensorFlow drop it, JAX carries it.

What happens: `Embedding(mask_zero=True)`, `Reshape`, `LSTM`: on JAX padding is skipped, elsewhere
it is read, with a warning at most. The same weights predict different numbers.

What is expected: the same on every backend: the mask, where the axis of steps stays, or none.

Cause: `Reshape` does not set `supports_masking` and has no `compute_mask`; on JAX a reshape to the
same shape returns the very same array, on which `_keras_mask` still lies.

Suggested fix: an explicit `compute_mask` in `Reshape`.

Way round it: hand the mask on by yourself, as below; `kooler.layers.check_masks(model, ids)` names
the layer that lost it.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import sys
import warnings

import keras
import numpy as np

IDS = np.array([[1, 2, 0, 0]])


def same_as_without_padding(mean):
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(3, 4, mask_zero=True)(ids)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "'reshape' does not support masking"
        x = keras.layers.Reshape((-1, 4))(x)
        model = keras.Model(ids, mean(x, ids))
    padded, alone = model.predict(IDS, verbose=0), model.predict(IDS[:, :2], verbose=0)
    return bool(np.allclose(padded, alone, atol=1e-6))


def with_keras():
    return same_as_without_padding(lambda x, ids: keras.layers.GlobalAveragePooling1D()(x))


def with_kooler():
    from kooler.layers import masked_mean

    return same_as_without_padding(lambda x, ids: masked_mean(x, keras.ops.not_equal(ids, 0)))


if __name__ == "__main__":
    expected, theirs = True, with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
