"""A search that is watched: the same steps as in `generate`, with a look at the beam after each.

`generate` runs its whole loop inside of one compiled function and shows only the end.  Here one
step is the compiled function and the loop is Python's, so that a title can be shown while it grows,
in `mid` from both ends.  The steps are those of `search.advanced`, so both find the same.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kooler.core.compiled import compiled
from kooler.core.types import Tensor
from kooler.seq2seq.generation import Hypothesis, finished, starting, step_of
from kooler.seq2seq.model import Memory, Seq2Seq
from kooler.seq2seq.order import tokens_per_step
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.search import POSSIBLE, advanced, first_stage, goes_on
from kooler.seq2seq.shapes import cached, in_its_precision


class Halves(NamedTuple):
    """A target that is still open: what is written at its left end, and at its right one."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    log_prob: float


class Moment(NamedTuple):
    """A search after one of its steps.

    Attributes:
        order: The order in which it writes.
        step: How many steps are done, from 1 on.
        open: The beam, best first.
        finished: The complete targets so far, best first.
    """

    order: str
    step: int
    open: list[Halves]
    finished: list[Hypothesis]


def watch(
    model: Seq2Seq, source: np.ndarray, order: str, rules: Rules, *, limit: int | None = None
) -> Iterator[Moment]:
    """Searches for the targets of one source, step by step.

    Args:
        model: A trained model.
        source: int32 [1, S], padded with 0.
        order: "l2r", "r2l" or "mid".
        rules: What to look for; each combination of them is compiled once.
        limit: The most tokens of a target, at most `rules.max_length`.

    Yields:
        The search after each step; what has finished in the last one is what `generate` finds.
    """
    key = ("watch", order, rules)
    functions: Any = cached(model, key, lambda: _functions(model, order, rules))
    start, advance = functions
    longest = np.array(limit or rules.max_length, "int32")
    stage, memory = start(source)
    more, number = True, 0
    while more:
        number += 1
        stage, more = advance(stage, memory, longest)
        yield _moment(stage, order, number)


def _functions(model: Seq2Seq, order: str, rules: Rules) -> Any:
    """The beginning of a search, and one step of it, as functions of flat lists of arrays."""
    shapes: dict[str, Any] = {}
    variables = model.variables

    def start(source: Tensor) -> list[Tensor]:
        memory = model.encode(source)
        caches, tags = starting(model, source.shape[0], order, rules)
        parts = (first_stage(caches, tags, rules), memory.layers, memory.contains)
        present = parts if memory.contains is not None else parts[:2]
        # only the structure is kept: the tensors of a trace must not outlive it
        shapes["parts"] = keras.tree.map_structure(lambda part: 0, present)
        shapes["stage"] = len(keras.tree.flatten(parts[0]))
        return keras.tree.flatten(present)

    def advance(limit: Tensor, *flat: Tensor) -> list[Tensor]:
        stage, layers, *contains = keras.tree.pack_sequence_as(shapes["parts"], list(flat))
        step = step_of(model, Memory(layers, contains[0] if contains else None), order)
        limited = rules._replace(max_length=limit)
        banned = ops.zeros((model.vocabulary_size,))
        stage = advanced(step, stage, limited, banned=banned)
        return [goes_on(stage, limited), *keras.tree.flatten(stage)]

    return _on_flat_lists(
        compiled(in_its_precision(model, start), variables),
        compiled(in_its_precision(model, advance), variables),
        shapes,
    )


def _on_flat_lists(
    start: Callable[..., Any], advance: Callable[..., Any], shapes: dict[str, Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two functions, with what changes apart from what is only read."""

    def begin(source: np.ndarray) -> tuple[list[Any], list[Any]]:
        flat = list(start(source))
        return flat[: shapes["stage"]], flat[shapes["stage"] :]

    def go_on(stage: list[Any], memory: list[Any], limit: np.ndarray) -> tuple[list[Any], bool]:
        more, *stage = advance(limit, *stage, *memory)
        return stage, bool(ops.convert_to_numpy(more))

    return begin, go_on


def _moment(flat: list[Any], order: str, number: int) -> Moment:
    """What can be seen of a stage."""
    fields = [ops.convert_to_numpy(part) for part in flat[: len(_SEEN)]]
    seen = dict(zip(_SEEN, fields, strict=True))
    written = number * tokens_per_step(order)
    beam = zip(seen["open"][0], seen["open_log_probs"][0], strict=True)
    pool = zip(seen["finished"][0], seen["log_probs"][0], seen["scores"][0], strict=True)
    return Moment(
        order,
        number,
        [_halves(row[:written], value, order) for row, value in beam if value > POSSIBLE],
        [finished(row, value, score, order) for row, value, score in pool if score > POSSIBLE],
    )


# The first leaves of a `Stage`: its time, its `Beam` and its `Pool`.
_SEEN = ("time", "open", "open_log_probs", "inputs", "finished", "log_probs", "scores", "count")


def _halves(stream: np.ndarray, log_prob: float, order: str) -> Halves:
    tokens = stream.tolist()
    left = {"l2r": tokens, "r2l": [], "mid": tokens[::2]}[order]
    right = {"l2r": [], "r2l": tokens, "mid": tokens[1::2]}[order]
    return Halves(tuple(left), tuple(reversed(right)), float(log_prob))
