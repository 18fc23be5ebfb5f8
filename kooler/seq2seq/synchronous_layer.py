"""The decoder layer of two streams that look at each other while they are written.

Each stream attends to its own past and, with the same projections, to what the other stream has
written so far; the two results are fused before the output projection:

    own, other  =  attend(q, k, v),  attend(q, k of the other stream, v of the other stream)

    linear   H = own + λ · other
    tanh     H = own + λ · tanh(other)                      (the paper's best, λ = 0.1)
    gate     H = r ⊙ own + z ⊙ other,   [r; z] = σ(W [own; other])

`linear` and `tanh` have no weights of their own: with λ = 0 the layer is an ordinary decoder layer,
to the bit.  Where nothing of the other stream may be seen, `other` is zero.

Rows come in pairs: of the R rows of a sentence the first half are left-to-right streams, the second
half right-to-left ones, and row i of one half looks at row i of the other.

Zhou, Zhang, Zong, "Synchronous Bidirectional Neural Machine Translation", TACL 2019,
https://arxiv.org/abs/1905.04847
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.seq2seq.transformer import DecoderLayer, attend

FUSIONS = ("tanh", "linear", "gate")


class Seen(NamedTuple):
    """What a pair of streams may look at; it takes the place of an ordinary mask."""

    own: Tensor  # bool, broadcast to [B·R, 1, Q, K]
    other: Tensor  # bool [B·R, 1, Q, K]: slots of the row that is paired with this one
    pairs: int  # R / 2


class SynchronousDecoderLayer(DecoderLayer):
    """A decoder layer for single streams (an ordinary mask) and for pairs of them (`Seen`).

    Args:
        parts: As `DecoderLayer` takes them: width, heads, feedforward, dropout, norm.
        fusion: "tanh", "linear" or "gate".
        fusion_weight: λ of `tanh` and `linear`; `gate` learns its own.
    """

    def __init__(self, *parts: Any, fusion: str, fusion_weight: float, **arguments: Any) -> None:
        super().__init__(*parts, **arguments)
        self.fusion, self.fusion_weight = fusion, fusion_weight
        if fusion == "gate":
            self.gate = keras.layers.Dense(2 * self.width, "sigmoid", name="gate")

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights of `DecoderLayer` and of the gate."""
        super().build(input_shape)
        if self.fusion == "gate":
            self.gate.build((None, 2 * self.width))

    def attend_to_self(
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Any, training: bool
    ) -> Tensor:
        """The streams [B·R, Q, D] after the attention to themselves and to each other."""
        paired = isinstance(mask, Seen)
        shape = ops.shape(x)
        own = self._merged(attend(query, key, value, mask.own if paired else mask)[0], shape)
        other = ops.zeros_like(own)
        if paired:
            keys, values = swapped(key, mask.pairs), swapped(value, mask.pairs)
            found = self._merged(attend(query, keys, values, mask.other)[0], shape)
            other = ops.where(ops.any(mask.other[:, 0], axis=-1)[..., None], found, other)
        return self._after(
            x, self.self_output.call(self.fused(own, other)), self.self_norm, training
        )

    def fused(self, own: Tensor, other: Tensor) -> Tensor:
        """One stream out of what it saw of itself and of the other, all [B·R, Q, D]."""
        if self.fusion == "gate":
            gates = self.gate.call(ops.concatenate([own, other], axis=-1))
            return gates[..., : self.width] * own + gates[..., self.width :] * other
        return own + self.fusion_weight * (ops.tanh(other) if self.fusion == "tanh" else other)


def swapped(rows: Tensor, pairs: int) -> Tensor:
    """[B·2·pairs, …] with the two halves of each sentence exchanged."""
    rest = tuple(rows.shape[1:])
    halves = ops.reshape(rows, (-1, 2, pairs, *rest))
    return ops.reshape(ops.flip(halves, axis=1), (-1, *rest))
