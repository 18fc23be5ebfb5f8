"""R-Drop: a batch is put through twice, with different dropout, and the results are drawn together.

For the distributions p and q that the two passes give at a slot,

    loss  ←  loss + α/2 · [KL(p‖q) + KL(q‖p)] / 2 .

Liang et al., "R-Drop", 2021, https://arxiv.org/abs/2106.14448 (half of its sum, so that the scale
stays that of one pass).
"""

from keras import ops

from kooler.core.types import Tensor


def doubled(rows: Tensor) -> Tensor:
    """A batch, twice."""
    return ops.concatenate([rows, rows], axis=0)


def difference(logits: Tensor) -> Tensor:
    """The mean of both divergences between the two passes [2B, R, L, V], for each: [2B, R, L]."""
    first, second = ops.split(ops.log_softmax(ops.cast(logits, "float32"), axis=-1), 2, axis=0)
    apart = (ops.exp(first) - ops.exp(second)) * (first - second)
    return doubled(ops.sum(apart, axis=-1) / 2)
