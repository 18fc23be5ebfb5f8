"""Embeddings at the price of the rows that a batch touches, in three meanings.

A batch looks up a few rows of a table. What is to become of the others, θ, and of what the
optimizer remembers of them, m and v? Dense Adam takes a step with a gradient of zero: m and v fade,
θ moves on by what is left of m. That reads and writes every row. `Lazy` leaves them alone until a
batch touches them again, after k steps, and then

| `untouched`  | m, v         | θ                                     | as in                 |
|--------------|--------------|---------------------------------------|-----------------------|
| `"freeze"`   | as they were | as it was                             | torch's `SparseAdam`  |
| `"decay"`    | β₁ᵏ·m, β₂ᵏ·v | as it was                             | the series            |
| `"catch_up"` | β₁ᵏ·m, β₂ᵏ·v | qᵏ·(θ − α·m/(√v + ε)·S), as dense Adam | HugeCTR's LazyGlobal |

with q = 1 − η·λ for decoupled weight decay λ, and S the sum of a geometric series: `lazy_rules.py`
has it for each optimizer. In catch-up mode the loss is computed with rows that are up to date, so
that the gradients, too, are those of dense training; the table itself is brought up to date at the
end of each epoch before validation, and by `kooler.flush(model)`.

The rows of a batch are looked up, differentiated, and written by `kooler/core/rows.py` and
`table.py`. Where gradients arrive whole (a loop of your own, a wrapper around that changes
gradients) all meanings hold and nothing is saved; `paths` says which way each table went.

In Su Jianlin's series: https://kexue.fm/archives/6869.
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from kooler.core import compat, selectors
from kooler.core.batch import Rows
from kooler.core.conditional import replica_count
from kooler.core.selectors import Selector
from kooler.core.table import distinct
from kooler.core.types import Tensor
from kooler.optimizers.lazy_rules import rule_of
from kooler.optimizers.lazy_table import Moment, Table
from kooler.optimizers.wrapper import OptimizerWrapper, as_optimizer

MEANINGS = ("freeze", "decay", "catch_up")


@keras.saving.register_keras_serializable("kooler")
class Lazy(OptimizerWrapper):
    """Updates only those rows of embeddings that a batch looked up.

    Other weights are the inner optimizer's. It must be SGD (with or without momentum), Adam, AdamW
    or Adagrad of Keras; other wrappers stand around `Lazy`.

    Args:
        inner_optimizer: The Keras optimizer whose arithmetic the rows follow, or its name.
        embeddings: Selects the tables: an embedding layer, a regular expression, a variable, or a
            list of these.
        untouched: What a row's absence from a batch means: "freeze", "decay" or "catch_up".
        name: A name, as for any optimizer.

    Example:
        >>> model.compile(Lazy(keras.optimizers.Adam(1e-3), "embeddings"), loss="mse")
    """

    by_rows: ClassVar[bool] = True
    needs_rows: ClassVar[bool] = False

    paths: dict[str, str]
    """Path of a table → how its gradient arrived in the last (traced) step: "rows" or "dense"."""

    def __init__(
        self,
        inner_optimizer: Any,
        embeddings: Selector,
        *,
        untouched: str = "freeze",
        name: str | None = None,
    ) -> None:
        if untouched not in MEANINGS:
            raise ValueError(
                f"`untouched` must be one of {', '.join(MEANINGS)}, received "
                f"untouched={untouched!r}."
            )
        inner = as_optimizer(inner_optimizer, type(self).__name__)
        rule = rule_of(inner, untouched)
        super().__init__(inner, name=name)
        self.untouched = untouched
        self._global_norm = getattr(self.inner_optimizer, "global_clipnorm", None)
        self.inner_optimizer.global_clipnorm = None  # from here on it is ours, rows included
        with compat.untracked():
            self._rule = rule
            self._selector = embeddings
            self._tables: list[Table] = []
            self.paths = {}

    def row_embeddings(self, model: Any) -> list[Any]:
        """The layers that look up in the selected tables."""
        tables = selectors.select(self._selector, model.trainable_variables, allow_nothing=True)
        return [
            layer
            for layer in compat.flat_layers(model)
            if layer.built
            and _looks_up(layer)
            and any(layer.embeddings is table for table in tables)
        ]

    def without_rows(self, why: str) -> None:
        """Whole gradients will do; but that is not what it is for."""
        warnings.warn(
            f"Lazy is given whole gradients of its tables, since {why}. Their rows are updated as "
            f"untouched={self.untouched!r} says, but at the price of whole tables.",
            stacklevel=2,
        )

    def build_inner(self, variables: Sequence[Any]) -> None:
        """The inner optimizer gets what is no table."""
        tables = selectors.select(self._selector, variables)
        for table in tables:
            _check_table(table)
        with compat.untracked():
            self._selected = tables
        chosen = {id(table) for table in tables}
        super().build_inner([v for v in variables if id(v) not in chosen])

    def build_slots(self, variables: Sequence[Any]) -> None:
        """What each table has, and of all steps so far the sum of log q."""
        decays = self.untouched == "catch_up" and bool(self.inner_optimizer.weight_decay)
        scalar = functools.partial(self.add_variable, (), dtype="float32")
        self._decayed = [scalar(name="decayed"), scalar(name="rest")] if decays else []
        with compat.untracked():
            self._tables = [Table(self, one, self._rule, self.untouched) for one in self._selected]

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Moves the rows, and lets the inner optimizer move the rest."""
        tables, parts = self._gradients_by_table(gradients, variables)
        own = {id(table.variable) for table in self._tables}
        others = [(g, v) for g, v in zip(gradients, variables, strict=True) if id(v) not in own]
        clipped = self._clipped([g for g, _ in others], [part.gradients for part in parts])
        now = self._now()
        then = self._after_a_step(now)
        for table, part, gradient in zip(tables, parts, clipped[len(others) :], strict=True):
            table.move(Rows(part.ids, gradient), now, then)
        if others:
            self.inner_optimizer.apply(clipped[: len(others)], [v for _, v in others])
        else:
            self.assign(self.iterations, self.iterations + 1)

    def look_up(self, table: Any, ids: Tensor) -> Tensor:
        """The rows, with the steps that they missed if they are to catch up."""
        found = [one for one in self._tables if one.variable is table]
        if self.untouched != "catch_up" or not found:
            return super().look_up(table, ids)
        return found[0].present(ids, self._now())[0]

    def release(self, reason: str, variables: Sequence[Any]) -> None:
        """Brings whole tables up to date, if they are to catch up."""
        if self.untouched != "catch_up":
            return
        for table in self._tables:
            now = self._now()
            table.write(None, *table.present(None, now), now)

    def get_config(self) -> dict[str, Any]:
        """The arguments; layers and variables become regular expressions."""
        config = super().get_config()
        config["inner_optimizer"]["config"]["global_clipnorm"] = self._global_norm
        variables = self._book.variables if self.built else ()
        selector = selectors.as_config(self._selector, variables)
        return {**config, "embeddings": selector, "untouched": self.untouched}

    # How it is done.

    def _gradients_by_table(
        self, gradients: Sequence[Tensor], variables: Sequence[Any]
    ) -> tuple[list[Table], list[Rows]]:
        """The tables that have a gradient, and it: by distinct rows, or whole, without ids."""
        by_rows = {id(variable): rows for variable, rows in self.touched_rows}
        whole = {id(v): g for g, v in zip(gradients, variables, strict=True)}
        tables, parts = [], []
        for table in self._tables:
            key = id(table.variable)
            if key in by_rows:
                parts.append(distinct(by_rows[key], table.variable))
            elif key in whole:
                parts.append(Rows(None, whole[key] * replica_count()))
            else:
                continue
            tables.append(table)
            self.paths[table.variable.path] = "rows" if key in by_rows else "dense"
        return tables, parts

    def _clipped(self, others: list[Tensor], parts: list[Tensor]) -> list[Tensor]:
        """As the inner optimizer would clip; by a global norm it is all of them together."""
        norm, value, replicas = (
            self.inner_optimizer.clipnorm,
            self.inner_optimizer.clipvalue,
            replica_count(),  # each holds its share of the other gradients, and all of the rows'
        )
        if self._global_norm is not None:
            every = [*others, *(part / replicas for part in parts)]
            every = compat.clipped_by_global_norm(every, self._global_norm / replicas)
            return [*every[: len(others)], *(one * replicas for one in every[len(others) :])]
        if norm is not None:
            parts = [compat.clipped_by_global_norm([part], norm)[0] for part in parts]
        if value is not None:
            parts = [ops.clip(part, -value, value) for part in parts]
        return [*others, *parts]

    def _now(self) -> Moment:
        decayed = ops.copy(ops.convert_to_tensor(self._decayed[0])) if self._decayed else None
        count = ops.copy(ops.convert_to_tensor(self.iterations))
        return Moment(ops.cast(count, "int32"), ops.convert_to_tensor(self.learning_rate), decayed)

    def _after_a_step(self, now: Moment) -> Moment:
        """Counts this step's weight decay: Σ log q, summed so that small terms are not lost."""
        if now.decayed is None:
            return Moment(now.count + 1, now.rate, None)
        total, rest = self._decayed
        term = ops.log1p(-now.rate * self.inner_optimizer.weight_decay) - rest
        new = now.decayed + term
        self.assign(rest, (new - now.decayed) - term)
        self.assign(total, new)
        return Moment(now.count + 1, now.rate, new)


def _looks_up(layer: Any) -> bool:
    known = isinstance(layer, keras.layers.Embedding)
    return known or bool(getattr(layer, "only_looks_up", False))


def _check_table(variable: Any) -> None:
    if len(variable.shape) != 2:
        raise ValueError(
            f"`embeddings` selects {variable.path!r} of shape {tuple(variable.shape)}, which is no "
            "table of rows. Select embedding layers only, for instance by 'embeddings$'."
        )
    if variable.regularizer is not None or variable.constraint is not None:
        raise ValueError(
            f"The table {variable.path!r} has a regularizer or a constraint, which concerns all of "
            "its rows in every step, so it cannot be lazy. Remove it (weight decay is the inner "
            "optimizer's), or train this table densely."
        )
