"""A table whose rows catch up: what is remembered of each, and one step of some of them.

Beside the slots of its optimizer (`lazy_rules.py`), a row has notes of the step that it was last
brought up to: its number t₀, the learning rate then, and Σ log q of the weight decay up to then.
From these, `present` says what the row is worth k steps later, and `write` puts it back with new
notes. Where `ids` is None, all rows are meant.

The slots of a row lie side by side in one tensor, [rows, slots × dimension]: to find a row in
memory takes longer than to read it, and so one place instead of two makes a step faster.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core import compat
from kooler.core.batch import Rows
from kooler.core.conditional import assign
from kooler.core.table import read, write
from kooler.core.types import Tensor
from kooler.optimizers.lazy_rules import Rule
from kooler.optimizers.wrapper import OptimizerWrapper


class Moment(NamedTuple):
    """A moment of the training: after `count` steps.

    Args:
        count: int scalar. rate: The learning rate. decayed: Σ log q so far, if weights decay.
    """

    count: Tensor
    rate: Tensor
    decayed: Tensor | None


class Table:
    """A table, and what is remembered of its rows.

    Args:
        lazy: Whose it is. variable: [rows, dimension]. rule: What happens to its rows.
        untouched: "freeze", "decay" or "catch_up".
    """

    def __init__(self, lazy: OptimizerWrapper, variable: Any, rule: Rule, untouched: str) -> None:
        inner, path = lazy.inner_optimizer, variable.path.replace("/", "_")
        self.variable, self.rule, self.untouched = variable, rule, untouched
        self.weight_decay = (inner.weight_decay or 0.0) if compat.decays(inner, variable) else 0.0
        length, dimension = variable.shape
        self.slots = None
        if rule.slots:
            self.slots = lazy.add_variable(
                (length, len(rule.slots) * dimension),
                keras.initializers.Constant(rule.start),
                variable.dtype,
                layout=compat.layout_of(variable),
                name=f"{path}_{'_'.join(rule.slots)}",
            )

        def per_row(name: str, dtype: str, wanted: bool) -> Any:
            name = f"{path}_{name}"
            return lazy.add_variable((length,), dtype=dtype, name=name) if wanted else None

        catches_up = untouched == "catch_up"
        self.last = per_row("last", "int32", rule.fades and untouched != "freeze")
        self.rate = per_row("rate", "float32", rule.fades and catches_up)
        self.decayed = per_row("decayed", "float32", catches_up and self.weight_decay > 0)

    def present(self, ids: Tensor | None, now: Moment) -> tuple[Tensor, list[Tensor]]:
        """Rows and slots with what the steps since their last touch did to them.

        Args:
            ids: int [m], or None for all rows. now: The moment that they are brought up to.

        Returns:
            [m, dimension], and each slot likewise.
        """
        rows, slots = _wide(self.variable, ids), self._slots(ids)
        if self.last is None:
            return self._shrunk(ids, rows, now), slots
        last = _column(self.last, ids)
        missed = ops.cast(now.count - last, rows.dtype)
        faded = self.rule.faded(slots, missed)
        if self.untouched == "decay":
            return rows, faded
        rate = ops.cast(_column(self.rate, ids), rows.dtype)
        keep = 1 - rate * self.weight_decay
        drift = self.rule.drift(slots, missed, rate, ops.cast(last, rows.dtype), keep)
        return self._shrunk(ids, rows + drift, now), faded

    def move(self, part: Rows, now: Moment, then: Moment) -> None:
        """One step of some rows, or, with a whole gradient, of all."""
        rows, slots = self.present(part.ids, now)
        rate, gradients = (ops.cast(one, rows.dtype) for one in (now.rate, part.gradients))
        start = rows - rows * self.weight_decay * rate if self.weight_decay else rows
        count = ops.cast(then.count, rows.dtype)
        moved, new = self.rule.step(start, slots, gradients, rate, count)
        if part.ids is None and self.untouched != "catch_up":
            touched = ops.any(ops.not_equal(gradients, 0), axis=1, keepdims=True)
            moved = ops.where(touched, moved, rows)
            if self.untouched == "freeze":
                new = [ops.where(touched, a, b) for a, b in zip(new, slots, strict=True)]
        self.write(part.ids, moved, new, then)

    def write(self, ids: Tensor | None, rows: Tensor, slots: list[Tensor], then: Moment) -> None:
        """Puts rows and slots back, and notes that they are those after `then.count` steps."""
        pairs = [(self.variable, rows)]
        if self.slots is not None:
            pairs.append((self.slots, ops.concatenate(slots, axis=1)))
        notes = (self.last, then.count), (self.rate, then.rate), (self.decayed, then.decayed)
        # XLA writes in place what nothing reads afterwards: a note, too, must wait for the rows.
        known = ops.equal(rows[:, 0], rows[:, 0])  # true, unless the row is not a number
        for variable, value in notes:
            if variable is not None:
                held = ops.squeeze(_column(variable, ids), -1)
                pairs.append((variable, ops.where(known, value, held)))
        for variable, value in pairs:
            if ids is None:
                assign(variable, ops.cast(value, variable.dtype))
            else:
                write(variable, ids, value)

    def _slots(self, ids: Tensor | None) -> list[Tensor]:
        """Each [m, dimension]."""
        if self.slots is None:
            return []
        return list(ops.split(_wide(self.slots, ids), len(self.rule.slots), axis=1))

    def _shrunk(self, ids: Tensor | None, rows: Tensor, now: Moment) -> Tensor:
        """After the weight decay of all missed steps: qᵏ, whatever the learning rate did."""
        if self.decayed is None:
            return rows
        return rows * ops.cast(ops.exp(now.decayed - _column(self.decayed, ids)), rows.dtype)


def _wide(variable: Any, ids: Tensor | None) -> Tensor:
    """Some rows of the table or a slot, or all, wide enough to compute with."""
    rows = ops.convert_to_tensor(variable) if ids is None else read(variable, ids)
    return ops.cast(rows, "float32") if variable.dtype in ("float16", "bfloat16") else rows


def _column(variable: Any, ids: Tensor | None) -> Tensor:
    values = ops.convert_to_tensor(variable) if ids is None else read(variable, ids)
    return ops.expand_dims(values, -1)
