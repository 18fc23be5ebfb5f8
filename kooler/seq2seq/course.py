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

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core.compiled import compiled
from kooler.core.replay import Replayed, records_at_once, replays
from kooler.core.types import Tensor
from kooler.seq2seq.ancestry import Ancestry
from kooler.seq2seq.compaction import Finished, compacted, kept_rows, most_done
from kooler.seq2seq.model import Memory, Seq2Seq
from kooler.seq2seq.order import SIDES, START_TAGS, tokens_per_step
from kooler.seq2seq.projection import projection_of
from kooler.seq2seq.reading import Sources, memory_of, parts_of
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.search import (
    Stage,
    Step,
    advanced,
    first_stage,
    goes_on,
    grown,
    opened,
    sentences_done,
    steps_of,
    stretched,
)
from kooler.seq2seq.shapes import cached, in_its_precision
from kooler.seq2seq.synchronous_search import starting_both, step_of_both

BOTH = "both"
FIRST_STEPS = 16
MANY_ROWS = 32  # from which on the places of a sentence take their first step as one


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
        self._functions: Any = cached(model, key, lambda: _Functions(model, order, rules, names))
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
        sizes = self._functions.sizes
        goal = min(until or sizes[-1], sizes[-1])
        while self.more and self.steps < goal:
            if self._state and self.steps == sizes[self._room]:
                self._room += 1
            self._stretch(min(goal, sizes[self._room]))

    def finish(self) -> None:
        """Goes on to the end; sentences that are done are left behind, see `compaction.py`.

        After that there is no beam to look at, only the pool.
        """
        sizes = self._functions.sizes
        while self.more:
            if self._state and self.steps == sizes[self._room]:
                self._room += 1
            self._stretch(sizes[self._room], most_done(len(self._done)))
            rows = kept_rows(self._done)
            if rows is not None:
                self._finished.keep(self._pool(), rows)
                self._state, self._parts = self._functions.compact(rows, self._state, self._parts)
                self._done = self._done[rows]

    def prepare(self) -> None:
        """Runs the first step, and compiles whatever later ones can need."""
        self.run(until=1)
        for room in range(len(self._functions.sizes)):
            self._room = room
            self._stretch(self.steps)

    def pool(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What has finished: streams int32 [B, K, slots], log p and scores float32 [B, K]."""
        tokens, log_probs, scores = self._finished.merged(self._pool())
        return self._named(tokens), log_probs, scores

    def beam(self) -> tuple[np.ndarray, np.ndarray]:
        """What is still open: streams int32 [B, K, slots] and their log p float32 [B, K]."""
        beam = self._functions.stage_of(self._state).beam
        tokens = self._named(ops.convert_to_numpy(beam.tokens))
        return tokens, ops.convert_to_numpy(beam.log_probs)

    def _named(self, tokens: np.ndarray) -> np.ndarray:
        """Ids of tokens, out of their places in the shortlist."""
        return tokens if self._shortlist is None else self._shortlist[tokens]

    def _pool(self) -> list[np.ndarray]:
        pool = self._functions.stage_of(self._state).pool
        return [ops.convert_to_numpy(part) for part in pool[:3]]

    def _stretch(self, until: int, most: int | None = None) -> None:
        """Steps up to `until`, within the room there is; ends when more than `most` are done."""
        most = len(self._done) if most is None else most
        given = [np.array(until, "int32"), np.array(most, "int32"), *self._given]
        if self._state:
            go_on = self._functions.go_on(self._room)
            done, *self._state = go_on(*given, *self._parts, *self._state)
        elif self._parts:
            done, *self._state = self._functions.begin(*given, *self._parts)
        else:
            done, *flat = self._functions.read_and_begin(*given, self._source)
            self._state, self._parts = self._functions.parted(flat)
        self._done = ops.convert_to_numpy(done)
        self.more = not self._done.all()
        self.steps = int(ops.convert_to_numpy(self._functions.stage_of(self._state).time))


class _Functions:
    """The stretches of one kind of search, as compiled functions of flat lists of arrays: `until`
    and `most`, what has one of `names`, the parts of sources, and in the end a search that goes on.
    """

    def __init__(self, model: Seq2Seq, order: str, rules: Rules, names: tuple[str, ...]) -> None:
        self.model, self.order, self.rules, self.names = model, order, rules, names
        per_step = 1 if order == BOTH else tokens_per_step(order)
        steps = steps_of(rules.max_length, per_step)
        self.sizes = [steps] if order == BOTH else _sizes(steps)
        self.begin = self._compiled(self._begun)
        self.read_and_begin = self._compiled(self._read_and_begun)
        self._compacted = compiled(self._kept, [])
        self._once = Replayed(self._one_step)
        self._later: dict[int, Callable[..., Any]] = {}
        self._nest: Any = None  # the structure of a stage; `begin` finds it

    def go_on(self, room: int) -> Callable[..., Any]:
        """The function of every stretch but the first, with room for `sizes[room]` steps."""
        if room not in self._later:

            def function(*given: Tensor) -> list[Tensor]:
                return self._gone_on(self.sizes[room], *given)

            self._later[room] = self._compiled(function)
        return self._later[room]

    def stage_of(self, flat: Sequence[Any]) -> Stage:
        """A search as it stands, out of its flat list."""
        stage: Stage = keras.tree.pack_sequence_as(self._nest, list(flat))
        return stage

    def compact(self, rows: np.ndarray, *flat: list[Any]) -> list[list[Any]]:
        """The flat lists of a search and of its sources, with some of its sentences."""
        return self.parted(self._compacted(rows, *flat[0], *flat[1]))

    def parted(self, flat: Sequence[Any]) -> list[list[Any]]:
        """A search, and behind it the parts of its sources, as two lists."""
        count = len(keras.tree.flatten(self._nest))
        return [list(flat[:count]), list(flat[count:])]

    def _kept(self, rows: Tensor, *flat: Tensor) -> list[Tensor]:
        stage = self.stage_of(self.parted(flat)[0])
        kept: list[Tensor] = compacted(list(flat), rows, stage.pool.count.shape[0])
        return kept

    def _read_and_begun(self, *given: Tensor) -> list[Tensor]:
        """The first steps, from ids: one call, where no other search needs what is read."""
        *ends, source = given
        parts = parts_of(self.model, source)
        return [*self._begun(*ends, *parts), *parts]

    def _begun(self, *given: Tensor) -> list[Tensor]:
        """The first steps."""
        ends, parts = given[: 2 + len(self.names)], given[2 + len(self.names) :]
        steps = self.sizes[0]
        state, tags = self._starting(parts[0].shape[0], steps)
        stage = first_stage(state, tags, self.rules, steps, together="noise" in self.names)
        # only the structure is kept: the tensors of a trace must not outlive it
        self._nest = keras.tree.map_structure(lambda part: 0, stage)
        if self._begins_alike(stage):
            step, rules, arrays = self._search(ends, parts)
            stage = opened(step, stage, rules, banned=arrays.get("banned"))
        return self._advanced(stage, ends, parts, steps)

    def _gone_on(self, steps: int, *given: Tensor) -> list[Tensor]:
        """More steps of a search that has begun."""
        ends, parts, flat = self._split(given)
        return self._advanced(grown(self.stage_of(flat), steps), ends, parts, steps)

    def _split(self, given: Sequence[Tensor]) -> tuple[Sequence[Tensor], ...]:
        """`until`, `most` and what has a name; the parts of sources; a search that goes on."""
        ends, stage = 2 + len(self.names), len(keras.tree.flatten(self._nest))
        return given[:ends], given[ends:-stage], given[-stage:]

    def _advanced(
        self, stage: Stage, ends: Sequence[Tensor], parts: Sequence[Tensor], steps: int
    ) -> list[Tensor]:
        """Which sentences are done, and the search, after the steps of a stretch."""
        step, rules, arrays = self._search(ends, parts)
        if replays():
            stage = self._replayed(stage, ends, parts, steps)
        else:
            stop = {"until": ends[0], "most_done": ends[1]}
            stage = stretched(step, stage, rules, steps, **stop, **arrays)
        return [sentences_done(stage, rules), *keras.tree.flatten(stage)]

    def _search(
        self, ends: Sequence[Tensor], parts: Sequence[Tensor]
    ) -> tuple[Step, Rules, dict[str, Tensor]]:
        """The step function, the rules with their limit, and `banned` and `noise` where given."""
        arrays = dict(zip(self.names, ends[2:], strict=True))
        projection, shortlist = arrays.pop("projection", None), arrays.pop("shortlist", None)
        rules = self.rules._replace(max_length=arrays.pop("limit"))
        return self._step(memory_of(self.model, parts), projection, shortlist), rules, arrays

    def _replayed(
        self, stage: Stage, ends: Sequence[Tensor], parts: Sequence[Tensor], steps: int
    ) -> Stage:
        """The steps of a stretch on PyTorch, where not the loop is recorded but one step."""
        flat = [part.contiguous() for part in keras.tree.flatten(stage)]  # recordings know strides
        going = goes_on(stage, self._search(ends, parts)[1], *ends[:2])
        if records_at_once() and stage.time < steps:
            self._once.prepared(*ends, *parts, *flat)
        while going:
            going, *flat = self._once(*ends, *parts, *flat)
        return self.stage_of(flat)

    def _one_step(self, *given: Tensor) -> list[Tensor]:
        """Whether there is another step behind this one, and the search after it."""
        ends, parts, flat = self._split(given)
        step, rules, arrays = self._search(ends, parts)
        stage = advanced(step, self.stage_of(flat), rules, **arrays)
        after = [part.contiguous() for part in keras.tree.flatten(stage)]
        return [goes_on(stage, rules, *ends[:2]), *after]

    def _begins_alike(self, stage: Stage) -> bool:
        """Whether the first step is one of its own: it saves more than its compilation costs."""
        batch, places = stage.beam.log_probs.shape
        shared = isinstance(stage.state, Ancestry) and "noise" not in self.names
        return shared and places > 1 and batch * places >= MANY_ROWS

    def _starting(self, batch: int, steps: int) -> tuple[Any, Tensor]:
        if self.order == BOTH:
            return starting_both(self.model, batch, self.rules)
        return starting(self.model, batch, self.order, self.rules, steps)

    def _step(self, memory: Memory, *given: Tensor | None) -> Step:
        if self.order == BOTH:
            return step_of_both(self.model, memory, self.rules)
        return step_of(self.model, memory, self.order, *given)

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return compiled(in_its_precision(self.model, function), self.model.variables)


def _sizes(steps: int) -> list[int]:
    """Room for 16, 32, … and at last all steps; the last at least doubles the one before."""
    sizes = []
    room = FIRST_STEPS
    while 2 * room <= steps:
        sizes.append(room)
        room *= 2
    return [*sizes, steps]


def starting(
    model: Seq2Seq, batch: int, order: str, rules: Rules, steps: int
) -> tuple[Any, Tensor]:
    """What a search begins with: a state for so many steps, and each source's start tags."""
    per_step = tokens_per_step(order)
    tags = ops.convert_to_tensor(np.array(START_TAGS[order], "int32"))
    state = model.first_state(batch, rules.beam_size, steps, per_step)
    return state, ops.broadcast_to(tags, (batch, per_step))


def step_of(
    model: Seq2Seq,
    memory: Memory,
    order: str,
    projection: Tensor | None = None,
    shortlist: Tensor | None = None,
) -> Step:
    """The step function of a search: the model, with its sources read.

    Args:
        model: The model.
        memory: Its sources.
        order: "l2r", "r2l" or "mid".
        projection: What `model.projection` gives, where it is made before.
        shortlist: The tokens that it is made of, int32 [V″]; the search goes by places in it.
    """

    def step(state: Any, inputs: Tensor, time: Tensor) -> tuple[Tensor, Any]:
        if shortlist is not None:
            inputs = ops.take(shortlist, inputs, axis=0)
        given = (inputs, time, SIDES[order], state, memory, projection)
        logits, state = model.step_of_relatives(*given)
        return ops.cast(logits, "float32"), state

    return step
