"""The cross-entropy of a stream against a vocabulary, without ever having all of its logits.

For a slot x [D], the embeddings E [V, D] of all that can be written, and the target z,

    ℓ     =  E x                                the logits
    s     =  log Σ_v exp ℓ_v
    nll   =  s − ℓ_z                            in nats
    mean  =  Ē x − s                            of all log-probabilities, Ē the mean row of E
    loss  =  (1 − ε) nll  −  ε mean             with label smoothing ε

Only nll and s need the logits.  A batch of 8,000 slots and 10,000 words has 320 MB of them and a
gradient as large, and a training on a CPU is as long as its passes over them.  So they are made for
some slots at a time, which stay in a core's cache, and the gradient is written out, for which they
are made once more: with p = softmax ℓ, for what comes from above for nll, a, and for s, b,

    ∂/∂ℓ_v  =  (a + b) p_v  −  a [v = z] .

Sums are in float32, also in half precision.  Cutting the product is common, see Hsu et al., "Liger
Kernel", 2024, https://arxiv.org/abs/2410.10989.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core.scan import scan
from kooler.core.types import Tensor
from kooler.seq2seq.reserved_ids import EOS, RESERVED

LOGITS = 2**21  # made at a time: 8 MB
SLOTS = 1024  # at most so many, for small vocabularies


class Sums(NamedTuple):
    """Of every slot, float32 [...]."""

    nll: Tensor
    total: Tensor  # s
    mean: Tensor


def smoothed(nll: Tensor, mean: Tensor, smoothing: float) -> Tensor:
    """The loss; `smoothing` is ε."""
    return (1 - smoothing) * nll - smoothing * mean


def vocabulary_sums(x: Tensor, table: Tensor, targets: Tensor) -> Sums:
    """What the losses are made of.

    Args:
        x: The stream [..., D].
        table: The embeddings of all ids, [V, D], of the same type; of the reserved ids only EOS
            can be written.
        targets: int32 [...], what is to be written.  For a reserved id, which cannot be, losses
            are finite but mean nothing.
    """
    shape = ops.shape(targets)
    written = ops.concatenate([table[EOS : EOS + 1], table[RESERVED:]], axis=0)
    places = ops.maximum(ops.reshape(targets, (-1,)) - (RESERVED - 1), 0)  # 0 is EOS
    flat = ops.reshape(x, (-1, x.shape[-1]))
    middle = ops.mean(ops.cast(written, "float32"), axis=0)
    centre = ops.matmul(ops.cast(flat, "float32"), middle[:, None])[:, 0]
    nll, total = cross_entropy_of_product(flat, written, places)
    return Sums(*(ops.reshape(part, shape) for part in (nll, total, centre - total)))


def cross_entropy_of_product(x: Tensor, table: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The sums nll and s, float32 [N], of slots [N, D], a table [V, D] and targets, int32 [N]."""

    @ops.custom_gradient
    def sums(x: Tensor, table: Tensor) -> Any:
        def gradient(*given: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, Tensor]:
            # Keras names what comes from above on PyTorch, and gives nothing else elsewhere
            return _slopes(x, table, places, given[0] if upstream is None else upstream)

        return _sums(x, table, places), gradient

    both = sums(x, table)
    return both[:, 0], both[:, 1]


def _sums(x: Tensor, table: Tensor, places: Tensor) -> Tensor:
    """Both sums, float32 [N, 2]."""

    def turn(_: Tensor, given: Any) -> tuple[Tensor, Tensor]:
        x, places = given
        logits = _logits(x, table)
        total = ops.logsumexp(logits, axis=-1)
        chosen = ops.take_along_axis(logits, places[:, None], axis=-1)[:, 0]
        return _, ops.stack([total - chosen, total], axis=-1)

    parts = [_cut(rows, table) for rows in (x, places)]
    return ops.reshape(scan(turn, ops.zeros(()), parts)[1], (-1, 2))[: ops.shape(x)[0]]


def _slopes(x: Tensor, table: Tensor, places: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients by slots and by table, for what comes from above for both sums, [N, 2]."""

    def turn(for_table: Tensor, given: Any) -> tuple[Tensor, Tensor]:
        x, places, above = given
        p = ops.softmax(_logits(x, table), axis=-1)
        weighed = p * ops.sum(above, axis=-1, keepdims=True)
        slope = ops.cast(_less(weighed, places, above[:, 0]), table.dtype)
        of_part = ops.cast(ops.matmul(ops.transpose(slope), x), "float32")
        return for_table + of_part, ops.matmul(slope, table)

    parts = [_cut(rows, table) for rows in (x, places, above)]
    for_table, for_x = scan(turn, ops.zeros(table.shape), parts)
    for_x = ops.reshape(for_x, (-1, x.shape[-1]))[: ops.shape(x)[0]]
    return for_x, ops.cast(for_table, table.dtype)


def _logits(x: Tensor, table: Tensor) -> Tensor:
    return ops.cast(ops.matmul(x, ops.transpose(table)), "float32")


def _cut(rows: Tensor, table: Tensor) -> Tensor:
    """Rows [N, …] as [parts, n, …], equally long and few enough at a time, filled up with zeros."""
    count = ops.shape(rows)[0]
    at_once = min(SLOTS, max(1, LOGITS // table.shape[0]))
    if isinstance(count, int) and count:  # TensorFlow may not know it yet
        at_once = _quotient(count, _quotient(count, at_once))
    others = tuple(rows.shape[1:])
    padded = ops.pad(rows, ((0, -count % at_once), *((0, 0) for _ in others)))
    return ops.reshape(padded, (-1, at_once, *others))


def _quotient(one: int, other: int) -> int:
    """Rounded up."""
    return -(-one // other)


def _less(scores: Tensor, places: Tensor, amount: Tensor) -> Tensor:
    """Scores [N, V] with an amount [N] taken off one place [N] of each row."""
    if keras.backend.backend() == "torch":
        return _less_by_scatter(scores, places, amount)
    hit = ops.equal(ops.arange(scores.shape[1])[None], places[:, None])
    return ops.where(hit, scores - amount[:, None], scores)


def _less_by_scatter(scores: Tensor, places: Tensor, amount: Tensor) -> Tensor:
    """In place: PyTorch, which compiles nothing, would pass over all scores three times for one of
    each row.
    """
    return scores.scatter_add_(1, places[:, None].long(), -amount[:, None])
