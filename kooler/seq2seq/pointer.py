"""A pointer: each token is written from the vocabulary, or copied from where the model looks.

    p(w)  =  g · softmax(s)_w  +  (1 − g) · Σ_{i: source_i = w} a_i,      g = σ(u·x + b)

s are the scores of the vocabulary, x is the stream behind the last decoder layer, and a is where
that layer looks in the source, the mean over its heads.  Without it, what is copied must pass
through the tied table: a name is found by its place and then spelled by its sense.  With it,
looking at a token is enough, and this is learned within hundreds of updates.

What it gives are the log p(w), which take the place of scores: softmax leaves them as they are.

The losses of a training need less: with q = softmax(s), and c the sum over the source above,

    nll        =  −log [ g q_z + (1 − g) c_z ]                                     of the target z
    mean_v log p(v)  =  log g + mean_v log q_v + 1/V Σ_w log [ 1 + (1 − g) c_w / (g q_w) ]

with w the different tokens of the source, so that scores are asked for only at z and at w.

See, Liu, Manning, "Get To The Point: Summarization with Pointer-Generator Networks", 2017,
https://arxiv.org/abs/1704.04368; their coverage is not part of it.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.seq2seq.reserved_ids import EOS, RESERVED
from kooler.seq2seq.vocabulary_loss import Sums

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

    def sums(
        self,
        sums: Sums,
        x: Tensor,
        attention: Tensor,
        source: Tensor,
        targets: Tensor,
        table: Tensor,
    ) -> Sums:
        """What losses are made of, with copying; p adds up to one, so that its total is 0.

        Args:
            sums: Without, of [B, R, L].
            x: The stream [B, R, L, D].
            attention: [B, H, R·L, S]; sums to 1 over S.
            source: int32 [B, S].
            targets: int32 [B, R, L].
            table: The embeddings [V, D], of the type of `x`.
        """
        shape, flat = ops.shape(targets), (ops.shape(source)[0], -1)
        nll, total, mean = (ops.reshape(part, flat) for part in sums)  # [B, Q]
        x = ops.reshape(x, (*flat, x.shape[-1]))
        wide = ops.cast(x, "float32")
        opening = ops.sum(wide * self.kernel, axis=-1) + self.bias
        write, copy = ops.log_sigmoid(opening), ops.log_sigmoid(-opening)
        looks = ops.mean(ops.cast(attention, "float32"), axis=1)  # [B, Q, S]
        wanted = ops.equal(ops.reshape(targets, flat)[..., None], source[:, None])
        copied = ops.sum(ops.where(wanted, looks, 0.0), axis=-1)
        found = -ops.logaddexp(write - nll, copy + ops.log(copied + LEAST))

        equal = ops.cast(ops.equal(source[:, None], source[:, :, None]), "float32")  # [B, S, S]
        ordinary = ops.logical_or(source >= RESERVED, ops.equal(source, EOS))
        share = ops.cast(ordinary, "float32") / ops.sum(equal, axis=-1)
        columns = ops.transpose(ops.take(table, source, axis=0), (0, 2, 1))
        scores = ops.cast(ops.matmul(x, columns), "float32") - total[..., None]
        copied = ops.log(ops.matmul(looks, equal) + LEAST)
        gain = ops.softplus((copy - write)[..., None] + copied - scores)
        gain = ops.sum(gain * share[:, None], axis=-1) / (table.shape[0] - RESERVED + 1)
        mixed = (found, ops.zeros_like(found), write + mean + gain)
        return Sums(*(ops.reshape(part, shape) for part in mixed))

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
