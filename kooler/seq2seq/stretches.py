"""The stretches of a search as compiled functions, each with room for so many steps.

All of them take and give flat lists of arrays, in this order:

    until, most      int32 scalars: go on to this step, or until more sentences than these are done
    limit, …         what else is given, by name
    parts            what the encoder made of the sources (`reading.py`)
    stage            a search that has begun

and give which sentences are done, and the search as it stands.  JAX and TensorFlow compile the
loop; on PyTorch one step is recorded and replayed (`core/replay.py`).
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
from kooler.seq2seq.compaction import compacted
from kooler.seq2seq.model import Memory, Seq2Seq
from kooler.seq2seq.order import SIDES, START_TAGS, tokens_per_step
from kooler.seq2seq.reading import memory_of, parts_of
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
from kooler.seq2seq.shapes import in_its_precision
from kooler.seq2seq.synchronous_search import starting_both, step_of_both

BOTH = "both"
FIRST_STEPS = 16
MANY_ROWS = 32  # from which on the places of a sentence take their first step as one


class Stretches:
    """The stretches of one kind of search.

    Args:
        model: The model.
        order: "l2r", "r2l", "mid" or "both".
        rules: What to look for, but for the limit.
        names: What is given beside `until` and `most`, "limit" first: also "projection",
            "shortlist", "banned", "noise".

    Attributes:
        sizes: Room for how many steps there is, in one stretch after the other.
        begin: The first stretch.
        read_and_begin: The same from ids; gives the parts of the sources behind the search.
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
