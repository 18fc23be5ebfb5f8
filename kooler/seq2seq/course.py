"""A search that goes on for as many steps as one likes, in compiled stretches of growing size.

Compiled shapes are fixed, so a search for targets of at most 80 tokens carries caches of 81 steps
from its first step on, although most targets end after a dozen.  A course therefore begins with
room for few steps, and where they do not suffice goes on with twice the room, to the longest
target.  Each size is compiled when it is first needed, and once.

    course = Course(model, "l2r", rules, source)
    course.run(until=3)      # the first three steps
    course.run()             # the rest
    course.finish()          # the rest, leaving sentences behind that are done

Between two stretches the search can be looked at; a title that is shown while it grows and one that
is written in the dark are the same steps of the same functions.

The order "both" is the search of a model of two streams: 2B rows, as `synchronous_search.py` has
them.  Its caches do not grow, so it has one size.
"""

from typing import Any

import numpy as np
from keras import ops

from kooler.seq2seq.compaction import Finished, kept_rows, most_done
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.projection import projection_of
from kooler.seq2seq.reading import Sources
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.shapes import cached
from kooler.seq2seq.stretches import BOTH, Stretches


class Course:
    """One batch's search on its way.

    Args:
        model: A trained model.
        order: "l2r", "r2l", "mid" or "both".
        rules: What to look for; each combination of them is compiled once. For "both", of one side.
        source: int32 [B, S], padded with 0, or what `read` made of it.
        limit: The most tokens of a target, at most `rules.max_length`.
        banned: float32 [V], 1 for tokens that must not be written; None if all may be.
        noise: float32 [steps, B, K, C] uniform numbers, for samples.
        shortlist: The tokens that are scored, as `checked_shortlist` gives them; None if all are.

    Attributes:
        more: Whether another step can change what was found.
        steps: How many steps are done.
    """

    def __init__(
        self,
        model: Seq2Seq,
        order: str,
        rules: Rules,
        source: np.ndarray | Sources,
        *,
        limit: int | None = None,
        banned: np.ndarray | None = None,
        noise: np.ndarray | None = None,
        shortlist: np.ndarray | None = None,
    ) -> None:
        if banned is not None and shortlist is not None:
            banned = banned[shortlist]
        given = {
            "limit": np.array(limit or rules.max_length, "int32"),
            "projection": None if order == BOTH else projection_of(model, shortlist),
            "shortlist": shortlist,
            "banned": banned,
            "noise": noise,
        }
        self._shortlist = shortlist
        given = {name: array for name, array in given.items() if array is not None}
        names = tuple(given)
        key = ("course", order, rules, names)
        self._stretches: Any = cached(model, key, lambda: Stretches(model, order, rules, names))
        self._given = list(given.values())
        self._source = source  # what is only given as ids is read in the first stretch
        self._parts = source.parts if isinstance(source, Sources) else []
        self._room = 0  # an index in `sizes`; before the first stretch there is none
        self._state: list[Any] = []
        size = source.size if isinstance(source, Sources) else len(source)
        self._done = np.zeros(size, "bool")
        self._finished = Finished(size)
        self.more, self.steps = True, 0

    def run(self, until: int | None = None) -> None:
        """Goes on to the end of step `until`, or to the end of the search."""
        sizes = self._stretches.sizes
        goal = min(until or sizes[-1], sizes[-1])
        while self.more and self.steps < goal:
            if self._state and self.steps == sizes[self._room]:
                self._room += 1
            self._stretch(min(goal, sizes[self._room]))

    def finish(self) -> None:
        """Goes on to the end; sentences that are done are left behind, see `compaction.py`.

        After that there is no beam to look at, only the pool.
        """
        sizes = self._stretches.sizes
        while self.more:
            if self._state and self.steps == sizes[self._room]:
                self._room += 1
            self._stretch(sizes[self._room], most_done(len(self._done)))
            rows = kept_rows(self._done)
            if rows is not None:
                self._finished.keep(self._pool(), rows)
                self._state, self._parts = self._stretches.compact(rows, self._state, self._parts)
                self._done = self._done[rows]

    def prepare(self) -> None:
        """Runs the first step, and compiles whatever later ones can need."""
        self.run(until=1)
        for room in range(len(self._stretches.sizes)):
            self._room = room
            self._stretch(self.steps)

    def pool(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What has finished: streams int32 [B, K, slots], log p and scores float32 [B, K]."""
        tokens, log_probs, scores = self._finished.merged(self._pool())
        return self._named(tokens), log_probs, scores

    def beam(self) -> tuple[np.ndarray, np.ndarray]:
        """What is still open: streams int32 [B, K, slots] and their log p float32 [B, K]."""
        beam = self._stretches.stage_of(self._state).beam
        tokens = self._named(ops.convert_to_numpy(beam.tokens))
        return tokens, ops.convert_to_numpy(beam.log_probs)

    def _named(self, tokens: np.ndarray) -> np.ndarray:
        """Ids of tokens, out of their places in the shortlist."""
        return tokens if self._shortlist is None else self._shortlist[tokens]

    def _pool(self) -> list[np.ndarray]:
        pool = self._stretches.stage_of(self._state).pool
        return [ops.convert_to_numpy(part) for part in pool[:3]]

    def _stretch(self, until: int, most: int | None = None) -> None:
        """Steps up to `until`, within the room there is; ends when more than `most` are done."""
        most = len(self._done) if most is None else most
        given = [np.array(until, "int32"), np.array(most, "int32"), *self._given]
        if self._state:
            go_on = self._stretches.go_on(self._room)
            done, *self._state = go_on(*given, *self._parts, *self._state)
        elif self._parts:
            done, *self._state = self._stretches.begin(*given, *self._parts)
        else:
            done, *flat = self._stretches.read_and_begin(*given, self._source)
            self._state, self._parts = self._stretches.parted(flat)
        self._done = ops.convert_to_numpy(done)
        self.more = not self._done.all()
        self.steps = int(ops.convert_to_numpy(self._stretches.stage_of(self._state).time))
