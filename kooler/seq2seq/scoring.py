"""How probable a target is: its exact log-probability in any generation order.

    log p_order(y | x)  =  Σ_i w_i · log p(z_i | earlier steps, x)

with z the stream of `order.py`, EOS included.  Several targets of one source share one run of the
encoder, in every order at once; this is the re-scorer of `generate`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kooler.core.compiled import compiled
from kooler.core.replay import replayed
from kooler.core.types import Tensor
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.order import ORDERS, check_order, layout
from kooler.seq2seq.reading import Sources, memory_of, read
from kooler.seq2seq.shapes import cached, id_lists, in_its_precision, rounded, source_batches

TOGETHER = 16  # sources scored at once: all candidates in all orders are many streams


def score(
    model: Seq2Seq, source: Any, target: Any, *, order: str = "l2r", batch_size: int = 64
) -> np.ndarray:
    """The exact log-probability of each target in one order.

    Args:
        model: A trained model.
        source: int [B, S] token ids padded with 0, or a list of lists.
        target: int [B, T] token ids padded with 0, or a list of lists; no EOS.
        order: "l2r", "r2l" or "mid".
        batch_size: Pairs run together.

    Returns:
        log p(target | source), EOS included, float32 [B].

    Raises:
        ValueError: If the model did not learn `order` or the numbers of sources and targets differ.
    """
    check_order(order, model.orders)
    sources = id_lists(source, model.source_vocabulary_size)
    targets = id_lists(target, model.vocabulary_size, name="target")
    if len(sources) != len(targets):
        raise ValueError(
            f"`source` and `target` must be equally many, received {len(sources)} sources "
            f"and {len(targets)} targets."
        )
    result = np.zeros(len(sources), "float32")
    for indices, batch in source_batches(sources, batch_size):
        chosen = [[tuple(targets[index])] for index in indices]
        scores = candidate_scores(model, batch, chosen, (order,))
        result[indices] = scores[: len(indices), 0, 0]
    return result


def candidate_scores(
    model: Seq2Seq,
    source: np.ndarray | Sources,
    targets: list[list[tuple[int, ...]]],
    orders: tuple[str, ...],
    most: int = 1,
    length: int = 0,
) -> np.ndarray:
    """Scores the targets of each source, float [B, orders, most].

    They are padded to `length` tokens at least, so that every call has the same shape.

    Args:
        model: A trained model.
        source: int32 [B, S], padded with 0, or what `read` made of it.
        targets: The targets of each source, at most `most`.
        orders: The orders that score them.
        most: How many targets there is room for.
        length: The fewest tokens to pad to.
    """
    sources = read(model, source)
    longest = max([length, *(len(ids) for row in targets for ids in row)])
    padded = np.zeros((sources.size, most, rounded(longest)), "int32")
    for row, candidates in enumerate(targets):
        for place, ids in enumerate(candidates):
            padded[row, place, : len(ids)] = ids
    function = cached(model, ("score", orders), lambda: _score_function(model, orders))
    parts = []
    for first in range(0, sources.size, TOGETHER):
        rows = np.arange(first, min(first + TOGETHER, sources.size), dtype="int32")
        (scored,) = function(rows, padded[rows], *sources.parts)
        parts.append(ops.convert_to_numpy(scored))
    return np.concatenate(parts)


def _score_function(model: Seq2Seq, orders: tuple[str, ...]) -> Callable[..., Any]:
    """Teacher-forced scores of several targets of each of some sources, int32 [B′] of the batch."""
    indices = np.array([ORDERS.index(order) for order in orders], "int32")

    def function(rows: Tensor, target: Tensor, *parts: Tensor) -> list[Tensor]:
        batch, most, length = target.shape
        memory = memory_of(model, [ops.take(part, rows, axis=0) for part in parts])
        copies = ops.reshape(ops.tile(target[:, None], (1, len(orders), 1, 1)), (batch, -1, length))
        order = ops.convert_to_tensor(np.repeat(indices, most)[None])
        streams = layout(copies, order)
        nll = model.nll(model.hidden(streams, memory), memory, streams.targets)
        total = -ops.sum(ops.where(streams.weight > 0, nll, 0.0), axis=-1)
        return [ops.reshape(total, (batch, len(orders), most))]

    return compiled(in_its_precision(model, replayed(function)), model.variables)
