"""The evaluation of a batch from those of its parts: means, and what belongs to examples in a row.

Everything that is a mean over a part (gradients, loss, scalar outputs) becomes a mean over the
batch,

    m ← m + (nᵢ/Σn) · (mᵢ − m),

where nᵢ is what the loss of part i was divided by; where the loss is a sum, they are added. What
there is one of for each example (outputs and their masks, looked-up rows of embeddings) is put in
a row.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.batch import Batch, Rows, examples_in
from kooler.core.technique import Evaluation, Request
from kooler.core.types import Tensor

if TYPE_CHECKING:
    from kooler.core.step import Step


class Joining:
    """Puts evaluations of parts together; the first of them says what there is.

    The carry of the loop: the sum of weights, means of gradients and scalars, changed state, and
    the denominators. Its outputs: one entry per leaf that belongs to examples.
    """

    def __init__(self, step: "Step", request: Request, first: Evaluation) -> None:
        self.step = step
        self.request = request
        self.first = first
        self.given = [index for index, g in enumerate(first.gradients) if g is not None]
        self.changed = [index for index, value in enumerate(first.state) if value is not None]
        self.whole = step.state(first)  # where nothing changed, the value at the start
        self.scalar = [len(leaf.shape) == 0 for leaf in keras.tree.flatten(first.outputs)]

    def start(self) -> Any:
        """The carry after the first part."""
        first = self.first
        state = [self.whole[index] for index in self.changed]
        return _weight(first), self._means(first), state, _facts(first)

    def state(self, carry: Any) -> list[Tensor]:
        """The whole state that the next part starts from."""
        state = list(self.whole)
        for index, value in zip(self.changed, carry[2], strict=True):
            state[index] = value
        return state

    def add(self, carry: Any, part: Evaluation) -> Any:
        """The new carry, and what this part has for each of its examples."""
        total, means, _, facts = carry
        state = self.step.state(part)
        share = self._share(total, _weight(part))
        means = [_toward(*pair, share) for pair in zip(means, self._means(part), strict=True)]
        facts = [one + more for one, more in zip(facts, _facts(part), strict=True)]
        carry = total + _weight(part), means, [state[index] for index in self.changed], facts
        return carry, self.parts(part)

    def parts(self, part: Evaluation) -> Any:
        """Outputs and their masks, the weight of the part, looked-up rows."""
        leaves = [leaf for leaf in keras.tree.flatten(part.outputs) if len(leaf.shape)]
        masks = [compat.mask_of(leaf) for leaf in leaves]
        return {
            "outputs": [ops.stop_gradient(leaf) for leaf in leaves],
            "masks": [mask for mask in masks if mask is not None],
            "weight": _weight(part),
            "rows": [tuple(rows) for rows in part.batch.rows.values()],
        }

    def evaluation(self, carry: Any, stacked: Any) -> Evaluation:
        """The evaluation of the whole batch."""
        total, means, state, facts = carry
        gradients: list[Tensor | None] = [None] * len(self.first.gradients)
        for index, gradient in zip(self.given, means, strict=False):
            gradients[index] = gradient
        changed: list[Tensor | None] = [None] * len(self.first.state)
        for index, value in zip(self.changed, state, strict=True):
            changed[index] = value
        loss, *scalars = means[len(self.given) :]
        own = self.parts(self.first)
        return Evaluation(
            loss,
            gradients,
            self._outputs(own, stacked, scalars),
            self._batch(facts, self._rows(own, stacked, total)),
            changed,
        )

    def _means(self, part: Evaluation) -> list[Tensor]:
        """Gradients, loss and scalar outputs, all of which are means over the part."""
        new = [i for i, g in enumerate(part.gradients) if g is not None and i not in self.given]
        if new:
            raise RuntimeError(
                "A part of the batch gave gradients to a variable that the first part gave none "
                f"(number {new[0]} of those trained). Micro-batches need a model that uses the "
                "same weights for all examples."
            )
        found = [part.gradients[index] for index in self.given]
        zero = self._zero
        gradients = [zero(i) if g is None else g for i, g in zip(self.given, found, strict=True)]
        flat = keras.tree.flatten(part.outputs)
        scalars = [leaf for leaf, scalar in zip(flat, self.scalar, strict=True) if scalar]
        return [*gradients, *(ops.stop_gradient(value) for value in (part.loss, *scalars))]

    def _zero(self, index: int) -> Tensor:
        return ops.zeros_like(self.first.gradients[index])

    def _share(self, total: Tensor, weight: Tensor) -> Tensor | None:
        """What the running mean gives a part; None where the loss is a sum."""
        if self.first.batch.summed:
            return None
        together = total + weight
        none = ops.equal(together, 0)  # nothing counted so far: regularizers still do
        return ops.where(none, 1.0, weight / ops.where(none, 1.0, together))

    def _outputs(self, own: Any, stacked: Any, scalars: list[Tensor]) -> Any:
        joined = [_joined(*pair) for pair in zip(own["outputs"], stacked["outputs"], strict=True)]
        masks = [_joined(*pair) for pair in zip(own["masks"], stacked["masks"], strict=True)]
        firsts = [leaf for leaf in keras.tree.flatten(self.first.outputs) if len(leaf.shape)]
        masked = [
            leaf
            for leaf, one in zip(joined, firsts, strict=True)
            if compat.mask_of(one) is not None
        ]
        for leaf, mask in zip(masked, masks, strict=True):
            compat.set_mask(leaf, mask)
        leaves = [scalars.pop(0) if scalar else joined.pop(0) for scalar in self.scalar]
        return keras.tree.pack_sequence_as(self.first.outputs, leaves)

    def _rows(self, own: Any, stacked: Any, total: Tensor) -> dict[int, Rows]:
        """The rows of all parts, each with its share of the gradient."""
        found = {}
        weights = [own["weight"], stacked["weight"]]
        if self.first.batch.summed:
            weights = [ops.ones_like(weight) for weight in weights]
        else:
            weights = [
                ops.where(total > 0, weight / ops.maximum(total, 1e-30), 1.0) for weight in weights
            ]
        lists = zip(self.first.batch.rows, own["rows"], stacked["rows"], strict=True)
        for key, (ids, gradients), (more_ids, more) in lists:
            here = gradients * ops.cast(weights[0], gradients.dtype)
            there = more * ops.cast(weights[1], more.dtype)[:, None, None]
            found[key] = Rows(_joined(ids, more_ids), _joined(here, there))
        return found

    def _batch(self, facts: list[Tensor], rows: dict[int, Rows]) -> Batch:
        batch = self.first.batch
        terms = [
            one.terms if one.summed else total
            for one, total in zip(batch.denominators, facts, strict=False)
        ]
        reported = facts[-1] if batch.reported is not None else None
        batch = batch.with_tensors((terms, reported)).with_rows(rows)
        return dataclasses.replace(batch, examples=examples_in(self.request.data))


def _joined(first: Tensor, stacked: Tensor) -> Tensor:
    """A part [n, …] and a stack of parts [count, size, …] as one: [examples, …]."""
    return ops.concatenate([first, ops.reshape(stacked, (-1, *ops.shape(first)[1:]))])


def _weight(part: Evaluation) -> Tensor:
    return ops.cast(part.batch.weight, "float32")


def _facts(part: Evaluation) -> list[Tensor]:
    terms, reported = part.batch.tensors()
    return [
        ops.cast(fact, "float32") for fact in (*terms, *([] if reported is None else [reported]))
    ]


def _toward(mean: Tensor, value: Tensor, share: Tensor | None) -> Tensor:
    """One turn of a running mean; of a sum where there is no share."""
    return mean + value if share is None else mean + ops.cast(share, mean.dtype) * (value - mean)
