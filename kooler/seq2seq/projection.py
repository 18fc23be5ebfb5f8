"""The projection of a search's stream to its logits, as one product and nothing behind it.

    logits  =  x Eᵀ + r  =  [x 1] [Eᵀ; r] ,

E [V, D] the embeddings, and r = -∞ for ids that are never written.

A step of a beam search on a CPU is as long as its passes over the logits: 64 sentences with 5
hypotheses and 10,000 words are 12 MB, more than a core's cache.  XLA added r in a pass of its own,
copied the logits where their number was no multiple of `top_k`'s blocks, and turned E at each step.
So E is turned once for all searches, its columns are filled up to whole blocks, with r = -∞, and r
is a row of the product: 27 ms a step became 19 (with the keys of `Cache` in columns).
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core.compiled import compiled
from kooler.core.types import Tensor
from kooler.seq2seq.top_k import BLOCK
from kooler.seq2seq.transformer import MASKED


def projection(table: Tensor, reserved: np.ndarray) -> Tensor:
    """What a stream is multiplied by, [D + 1, V′], V′ a multiple of `BLOCK`.

    Args:
        table: The embeddings E [V, D].
        reserved: float32 [V], 1 for the ids that are never written.
    """
    missing = -len(reserved) % BLOCK
    kernel = ops.pad(ops.transpose(table), ((0, 0), (0, missing)))
    forbidden = np.pad(reserved, (0, missing), constant_values=1.0)[None] * MASKED
    return ops.concatenate([kernel, ops.cast(ops.convert_to_tensor(forbidden), kernel.dtype)])


def projected(x: Tensor, projection: Tensor) -> Tensor:
    """The logits [..., V′] of a stream [..., D]."""
    flat = ops.reshape(x, (-1, x.shape[-1]))
    flat = ops.pad(flat, ((0, 0), (0, 1)), constant_values=1.0)
    return ops.reshape(ops.matmul(flat, projection), (*ops.shape(x)[:-1], -1))


def projection_of(model: Any, shortlist: np.ndarray | None) -> Any:
    """The projection of a model's weights as they are now; None where steps do without.

    Args:
        model: The model.
        shortlist: The tokens that are scored, int32 [V″]; None if all are.
    """
    if _is_kept(model):
        return _kept(model, shortlist)
    return None if shortlist is None else _maker(model)(shortlist)


def _is_kept(model: Any) -> bool:
    """Only for XLA's CPU: an array of JAX never changes, so that what was made of one is right
    until the model has another, while PyTorch and TensorFlow change weights in place; and on a GPU
    such products are not what a step waits for.  A pointer or a prior reads the logits behind it.
    """
    if keras.backend.backend() != "jax" or not model.writes_by_product:
        return False
    import jax

    return bool(jax.default_backend() == "cpu")


def _kept(model: Any, shortlist: np.ndarray | None) -> Any:
    """The last one is kept, for as long as table and shortlist are the same."""
    kept = model.__dict__.setdefault("_kept_projection", {})
    if kept.get("table") is not model.embeddings.value or not _same(kept["of"], shortlist):
        ids = np.arange(model.vocabulary_size) if shortlist is None else shortlist
        made = _maker(model)(ids.astype("int32"))
        kept.update(table=model.embeddings.value, of=shortlist, made=made)
    return kept["made"]


def _maker(model: Any) -> Any:
    """A compiled function of the ids that are scored."""
    made = model.__dict__.setdefault("_make_projection", [])
    if not made:
        made.append(compiled(model.projection, model.variables))
    return made[0]


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
