"""A search that is watched: the same steps as in `generate`, with a look at the beam after each.

`generate` runs the loop inside of compiled functions and shows only the end.  Here it stops after
each step, so that a title can be shown while it grows, in `mid` from both ends.  The functions are
the same (`course.py`), so both find the same.  A model of two streams is watched in both at once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from kooler.seq2seq.continuations import POSSIBLE
from kooler.seq2seq.course import Course
from kooler.seq2seq.generation import Hypothesis, finished
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.order import tokens_per_step
from kooler.seq2seq.reading import Sources
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.stretches import BOTH
from kooler.seq2seq.synchronous_search import DIRECTIONS, half_of


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
    model: Seq2Seq,
    source: np.ndarray | Sources,
    order: str,
    rules: Rules,
    *,
    limit: int | None = None,
) -> Iterator[Moment]:
    """Searches for the targets of one source, step by step.

    Args:
        model: A trained model.
        source: int32 [1, S], padded with 0, or what `read` made of it.
        order: "l2r", "r2l" or "mid".
        rules: What to look for; each combination of them is compiled once.
        limit: The most tokens of a target, at most `rules.max_length`.

    Yields:
        The search after each step; what has finished in the last one is what `generate` finds.
    """
    course = Course(model, order, rules, source, limit=limit)
    while course.more:
        course.run(until=course.steps + 1)
        yield _moment(course, order)


def watch_both(
    model: Any, source: np.ndarray | Sources, rules: Rules, *, limit: int | None = None
) -> Iterator[tuple[Moment, ...]]:
    """Searches for the targets of one source from both sides at once, step by step.

    Args:
        model: A trained model of two streams.
        source: int32 [1, S], padded with 0, or what `read` made of it.
        rules: What to look for; the beam is that of both sides together.
        limit: The most tokens of a target, at most `rules.max_length`.

    Yields:
        After each step, the search from the left and the one from the right.
    """
    course = course_of_both(model, source, rules, limit=limit)
    while course.more:
        course.run(until=course.steps + 1)
        yield tuple(_moment(course, order, side) for side, order in enumerate(DIRECTIONS))


def course_of_both(
    model: Any, source: np.ndarray | Sources, rules: Rules, *, limit: int | None = None
) -> Course:
    """The search that `watch_both` looks at."""
    halved = rules._replace(beam_size=half_of(rules.beam_size))
    return Course(model, BOTH, halved, source, limit=limit)


def _moment(course: Course, order: str, row: int = 0) -> Moment:
    """What can be seen of a search."""
    written = course.steps * tokens_per_step(order)
    open_ones = zip(*(part[row] for part in course.beam()), strict=True)
    found = zip(*(part[row] for part in course.pool()), strict=True)
    return Moment(
        order,
        course.steps,
        [_halves(one[:written], value, order) for one, value in open_ones if value > POSSIBLE],
        [finished(one, value, score, order) for one, value, score in found if score > POSSIBLE],
    )


def _halves(stream: np.ndarray, log_prob: float, order: str) -> Halves:
    tokens = stream.tolist()
    left = {"l2r": tokens, "r2l": [], "mid": tokens[::2]}[order]
    right = {"l2r": [], "r2l": tokens, "mid": tokens[1::2]}[order]
    return Halves(tuple(left), tuple(reversed(right)), float(log_prob))
