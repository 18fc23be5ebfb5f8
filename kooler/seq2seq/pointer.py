"""A pointer: each token is written from the vocabulary, or copied from where the model looks.

    p(w)  =  g · softmax(s)_w  +  (1 − g) · Σ_{i: source_i = w} a_i,      g = σ(u·x + b)

s are the scores of the vocabulary, x is the stream behind the last decoder layer, and a is where
that layer looks in the source, the mean over its heads.  Without it, what is copied must pass
through the tied table: a name is found by its place and then spelled by its sense.  With it,
looking at a token is enough, and this is learned within hundreds of updates.

What it gives are the log p(w), which take the place of scores: softmax leaves them as they are.

See, Liu, Manning, "Get To The Point: Summarization with Pointer-Generator Networks", 2017,
https://arxiv.org/abs/1704.04368; their coverage is not part of it.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor

LEAST = 1e-20  # of a probability, so that its logarithm is finite


class Pointer(keras.layers.Layer):
    """Mixes copying into the scores of a vocabulary; holds u and b, which begin at 0."""

    def build(self, width: int) -> None:
        """Makes u [width] and b."""
        self.kernel = self.add_weight(shape=(width,), initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias")

    def call(self, scores: Tensor, x: Tensor, attention: Tensor, source: Tensor) -> Tensor:
        """The log-probabilities of a vocabulary.

        Args:
            scores: [B, R, L, V].
            x: The stream [B, R, L, D].
            attention: [B, H, R·L, S]; sums to 1 over S.
            source: int32 [B, S].

        Returns:
            float32 [B, R, L, V].
        """
        scores, x = ops.cast(scores, "float32"), ops.cast(x, "float32")
        gate = ops.sigmoid(ops.sum(x * self.kernel, axis=-1, keepdims=True) + self.bias)
        looks = ops.mean(ops.cast(attention, "float32"), axis=1)
        copied = ops.reshape(by_token(looks, source, scores.shape[-1]), ops.shape(scores))
        return ops.log(gate * ops.softmax(scores) + (1 - gate) * copied + LEAST)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """That of the scores."""
        return shapes[0]


def by_token(looks: Tensor, source: Tensor, vocabulary: int) -> Tensor:
    """Adds up the attention [B, Q, S] to equal tokens of the source [B, S]: [B, Q, V]."""
    batch, queries, _ = ops.shape(looks)
    row = ops.reshape(ops.arange(batch * queries, dtype="int32"), (batch, queries, 1))
    place = row * vocabulary + ops.cast(source, "int32")[:, None, :]
    total = batch * queries * vocabulary
    summed = ops.segment_sum(ops.reshape(looks, (-1,)), ops.reshape(place, (-1,)), total)
    return ops.reshape(summed, (batch, queries, vocabulary))
