"""Search in both directions at once, half of the beam each way.

It is the loop of `search.py` on twice as many rows: row 2b writes sentence b from the left, row
2b + 1 from the right, each with a beam of K/2 (rounded up), a pool of its own and the same rules.
In a step the hypothesis of rank i on one side sees the one of rank i on the other; a finished
hypothesis leaves its beam, so both are always open.  Where one side has fewer than i open
hypotheses, the other goes on alone.  With `partners="all"` a hypothesis is put beside every open
one of the other side, and its next token has the mean of those probabilities; that is the search of
the series (https://kexue.fm/archives/6877), for a model whose directions meet on top only, so that
K²/2 pairs a sentence share the states of K hypotheses.

The search of a sentence ends when both sides are done, each by the rule of `early_stopping` for its
own K/2 hypotheses.  The K of both sides are ranked by the same normalised score; a winner from the
right is read backwards.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kooler.core.compiled import compiled
from kooler.core.types import Tensor
from kooler.seq2seq.model import Memory
from kooler.seq2seq.order import START_TAGS
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.search import Step, search, steps_of
from kooler.seq2seq.shapes import in_its_precision

DIRECTIONS = ("l2r", "r2l")


def synchronous_search(
    model: Any, rules: Rules, names: tuple[str, ...] = ()
) -> Callable[..., tuple[Any, ...]]:
    """The search as one compiled function.

    Args:
        model: A model that writes both directions together: with `step_together`, or for
            `partners="all"` with `step_of_all_pairs`.
        rules: Of the search.
        names: Those of "banned" and "noise" that are given.

    Returns:
        A function of sources int32 [B, S], the longest target int32 and, where they are named,
        banned tokens float32 [V] and, for samples, uniform numbers [steps, B, K, 1].  It returns
        streams int32 [B, K, slots], their log-probabilities and scores [B, K], best first, and the
        index in `DIRECTIONS` of each.
    """
    halved = rules._replace(beam_size=half_of(rules.beam_size))

    def function(source: Tensor, limit: Tensor, *arrays: Tensor) -> tuple[Any, ...]:
        given = dict(zip(names, arrays, strict=True))
        batch = source.shape[0]
        step = step_of_both(model, model.encode(source), halved)
        caches, start = starting_both(model, batch, halved)
        if "noise" in given:
            shape = (given["noise"].shape[0], 2 * batch, halved.beam_size, 1)
            given["noise"] = ops.reshape(given["noise"], shape)
        pool = search(step, caches, start, halved, limit=limit, **given)
        return _ranked(pool.tokens, pool.log_probs, pool.scores, batch)

    return compiled(in_its_precision(model, function), model.variables)


def half_of(beam_size: int) -> int:
    """Hypotheses of each direction."""
    return (beam_size + 1) // 2


def starting_both(model: Any, batch: int, rules: Rules) -> tuple[Any, Tensor]:
    """What the search begins with: empty caches, and a start tag for each of the 2B rows.

    Args:
        model: The model.
        batch: Number of sentences, B.
        rules: Of one direction.
    """
    tags = np.array([START_TAGS[direction] for direction in DIRECTIONS], "int32")  # [2, 1]
    caches = model.empty_caches(batch * 2 * rules.beam_size, steps_of(rules.max_length, 1))
    return caches, ops.tile(ops.convert_to_tensor(tags), (batch, 1))


def step_of_both(model: Any, memory: Memory, rules: Rules) -> Step:
    """The step function of the search: the model, with its sources read."""
    advance = model.step_together if rules.partners == "rank" else model.step_of_all_pairs

    def step(caches: Any, inputs: Tensor, time: Tensor) -> tuple[Tensor, Any]:
        rows, each, _ = inputs.shape
        paired = ops.reshape(inputs, (rows // 2, 2 * each, 1))
        logits, caches = advance(paired, time, caches, memory)
        return ops.reshape(ops.cast(logits, "float32"), (rows, each, 1, -1)), caches

    return step


def _ranked(tokens: Tensor, log_probs: Tensor, scores: Tensor, batch: int) -> tuple[Any, ...]:
    """The hypotheses [2B, K/2] of both sides as those [B, K] of a sentence, best first."""
    count, slots = 2 * tokens.shape[1], tokens.shape[2]
    ranked, places = ops.top_k(ops.reshape(scores, (batch, count)), count)
    places = ops.cast(places, "int32")
    streams = ops.reshape(tokens, (batch, count, slots))
    wide = ops.broadcast_to(places[..., None], (batch, count, slots))
    return (
        ops.take_along_axis(streams, wide, axis=1),
        ops.take_along_axis(ops.reshape(log_probs, (batch, count)), places, axis=1),
        ranked,
        places // (count // 2),
    )
