"""`Adam` on TensorFlow squares the parts of an embedding's gradient before it adds them up.

Seen with Keras 3.15.1 on TensorFlow; JAX and PyTorch are right.

What happens: the gradient of an `Embedding` is a `tf.IndexedSlices` in which an id that occurs
twice in a batch has two entries. `Adam` adds `square(values)` entry by entry, so the second moment
gets g₁² + g₂² where the gradient of the row is g₁ + g₂, and the row's step is as much larger.

What is expected: the second moment of the gradient, (g₁ + g₂)², as on the other backends and as for
a dense tensor.

Cause: `Adam.update_step` computes `ops.square(gradient)` of the slices and assigns it by
`assign_add`, which is linear; the square is not. So is it with all that is not linear in the
gradient.

Suggested fix: add up the entries of equal ids in `BaseOptimizer.apply` on TensorFlow, with
`tf.unique` and `tf.math.unsorted_segment_sum`.

Way round it: `kooler.layers.SparseEmbedding` with `kooler.optimizers.Lazy`, which add up first.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import sys

import keras
import numpy as np

IDS = np.array([[0, 1, 1, 2]])  # the gradient of rows 0 and 2 is 1, of row 1 it is 2


def steps(embedding, optimizer):
    """How far each row moves in the first step of Adam: by the rate, whatever its gradient is."""
    model = keras.Sequential([keras.Input((4,), dtype="int32"), embedding])
    model.compile(optimizer, loss=lambda y, y_pred: keras.ops.sum(y_pred))
    before = embedding.get_weights()[0]
    model.train_on_batch(IDS, np.zeros((1, 4, 1)))
    return [round(float(one), 3) for one in (before - embedding.get_weights()[0])[:, 0]]


def with_keras():
    return steps(keras.layers.Embedding(3, 1), keras.optimizers.Adam(0.1))


def with_kooler():
    from kooler.layers import SparseEmbedding
    from kooler.optimizers import Lazy

    words = SparseEmbedding(3, 1, name="words")
    return steps(words, Lazy(keras.optimizers.Adam(0.1), "words", untouched="freeze"))


if __name__ == "__main__":
    expected, theirs = [0.1, 0.1, 0.1], with_keras()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
