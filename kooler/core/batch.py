"""What is known of a batch beside its gradients: above all, how much it weighs.

A batch's loss is nearly always a mean, and a mean forgets over how many terms it was taken.
Whoever combines the gradients g₁, g₂, … of several batches into that of one big batch needs these
numbers, the denominators n₁, n₂, …:

    g = (n₁·g₁ + n₂·g₂ + …) / (n₁ + n₂ + …)

The denominators are read where Keras divides: the number of loss values (examples, or examples ×
positions), the number of unmasked ones, or the sum of the sample weights, as the reduction of the
loss says.  A loss that is reduced by `"sum"` has none: the gradients of such batches just add up.
"""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core import compat
from kooler.core.types import Tensor


class Data(NamedTuple):
    """A batch as Keras's trainers take it apart: nests of tensors, or None."""

    x: Any
    y: Any = None
    sample_weight: Any = None


class Denominator(NamedTuple):
    """What one loss of a batch was divided by.

    Args:
        name: The loss, as Keras names it in the logs.
        summed: Whether the loss was not divided at all.
        terms: Scalar, the number of terms of the mean (1 where `summed`); a plain number where the
            shapes say it.
        per_example: The number of terms of each example, where it is the same for all, else None.
        source: Equal for two losses whose denominators are one and the same number.
    """

    name: str
    summed: bool
    terms: Tensor
    per_example: int | None
    source: object


@dataclass(frozen=True)
class Batch:
    """The facts of a batch whose gradients are being applied.

    Args:
        examples: The number of examples.
        denominators: One per compiled loss.
        reported: The weight that the model itself reported, if it did.
        rows: For an embedding whose gradient was taken row by row: id of the variable → `Rows`.
    """

    examples: Tensor
    denominators: tuple[Denominator, ...] = ()
    reported: Tensor | None = None
    rows: dict[int, "Rows"] = field(default_factory=dict)

    @property
    def weight(self) -> Tensor:
        """Float scalar: the denominator of the loss of this batch, 1 where the loss is a sum.

        Raises:
            ValueError: The losses have different denominators, so no one number is right.
        """
        if self.reported is not None:
            return ops.cast(self.reported, "float32")
        if not self.denominators:
            return ops.cast(self.examples, "float32")
        if len({(one.summed, one.source) for one in self.denominators}) == 1:
            return ops.cast(self.denominators[0].terms, "float32")
        if all(one.per_example is not None and not one.summed for one in self.denominators):
            return ops.cast(self.examples, "float32")
        raise ValueError(_different(self.denominators))

    @property
    def summed(self) -> bool:
        """Whether the loss is a sum over the batch, so that gradients of batches just add up."""
        return bool(self.denominators) and all(one.summed for one in self.denominators)

    def tensors(self) -> Any:
        """The tensors among the facts, as a nest that may leave a differentiated function."""
        return [one.terms for one in self.denominators], self.reported

    def with_tensors(self, tensors: Any) -> "Batch":
        """The same facts with other tensors, in the structure of `tensors()`."""
        terms, reported = tensors
        pairs = zip(self.denominators, terms, strict=True)
        denominators = tuple(one._replace(terms=new) for one, new in pairs)
        return dataclasses.replace(self, denominators=denominators, reported=reported)

    def with_rows(self, rows: dict[int, "Rows"]) -> "Batch":
        """The same facts with the rows that embeddings looked up."""
        return dataclasses.replace(self, rows=rows)

    def weighing(self, weight: Tensor) -> "Batch":
        """The same facts with a weight that is known by other means."""
        return dataclasses.replace(self, reported=weight)


class Rows(NamedTuple):
    """The part of an embedding that a batch touched.

    Args:
        ids: int [n], the rows that were looked up, with repetitions.
        gradients: float [n, dimension], the gradient of the loss by each looked-up row.
    """

    ids: Tensor
    gradients: Tensor


class Record:
    """Collects the facts of a batch while its loss is computed."""

    def __init__(self) -> None:
        self.denominators: list[Denominator] = []
        self.reported: Tensor | None = None

    def note(
        self, name: str, reduction: str, values: Tensor, mask: Any, sample_weight: Any
    ) -> None:
        """Hears of one compiled loss; see `compat.noted_losses`."""
        self.denominators.append(denominator(name, reduction, values, mask, sample_weight))

    def batch(self, data: Data) -> Batch:
        """What was collected, as facts of `data`."""
        return Batch(examples_in(data), tuple(self.denominators), self.reported)


def denominator(
    name: str, reduction: str, values: Tensor, mask: Any, sample_weight: Any
) -> Denominator:
    """What Keras divides a loss by, following `keras.losses.Loss` step by step.

    Args:
        name: The name of the loss.
        reduction: One of Keras's reductions.
        values: The losses before the reduction: scalar, [batch] or [batch, …].
        mask: Boolean, or None: the entries that count.
        sample_weight: What the values are multiplied by, or None.

    Returns:
        The denominator, with where it came from.
    """
    if reduction in ("sum", "none", None):
        return Denominator(name, True, 1, None, "sum")
    if reduction == "mean_with_sample_weight" and (sample_weight is not None or mask is not None):
        return Denominator(name, False, _sum_of_weights(mask, sample_weight), None, id(mask))
    terms = _size(values)
    if mask is None:
        per_example = math.prod(values.shape[1:]) if None not in values.shape[1:] else None
        if len(values.shape) == 0:  # a function that has taken its mean itself: over the examples
            per_example = 1
        return Denominator(name, False, terms, per_example, ("values", per_example))
    valid = ops.sum(ops.cast(mask, "float32"))
    return Denominator(name, False, valid * (terms / _size(mask)), None, id(mask))


def examples_in(data: Data) -> Tensor:
    """The number of examples in a batch: the length of the first tensor of its input."""
    first = next(leaf for leaf in keras.tree.flatten(data.x) if leaf is not None)
    return ops.shape(first)[0]


def report_weight(weight: Tensor) -> None:
    """Says by what number of terms the loss of the running batch was divided.

    For models that compute their loss themselves (in `compute_loss`, or in `call` with
    `add_loss`); losses given to `compile` need nothing. Outside of a step that asks for weights it
    does nothing.

    Args:
        weight: Scalar: the number of terms of the mean, for instance of target tokens.

    Example:
        >>> def compute_loss(self, x, y, y_pred, sample_weight, training=True):
        ...     report_weight(ops.sum(mask))
        ...     return ops.sum(mask * losses) / ops.sum(mask)
    """
    if _running.records:
        _running.records[-1].reported = weight


@contextmanager
def recording(model: Any) -> Iterator[Record]:
    """Meanwhile the facts of the batch whose loss `model` computes are collected."""
    record = Record()
    _running.records.append(record)
    try:
        with compat.noted_losses(model, record.note):
            yield record
    finally:
        _running.records.remove(record)


@contextmanager
def applying(batch: Batch | Callable[[], Batch]) -> Iterator[None]:
    """Meanwhile `current()` is `batch`, or what it returns: open around the optimizer's `apply`."""
    _running.batches.append(batch)
    try:
        yield
    finally:
        _running.batches.pop()


def current() -> Batch | None:
    """The batch whose gradients are being applied in this thread, None outside of a known step."""
    batch = _running.batches[-1] if _running.batches else None
    return batch() if callable(batch) else batch


class _Running(threading.local):
    """What runs in this thread."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.batches: list[Batch | Callable[[], Batch]] = []


_running = _Running()


def _size(tensor: Tensor) -> Tensor:
    """The number of entries: without any computation where the shape is known."""
    if None not in tensor.shape:
        return math.prod(tensor.shape)
    return ops.cast(ops.prod(ops.shape(tensor)), "float32")


def _sum_of_weights(mask: Any, sample_weight: Any) -> Tensor:
    if mask is None:
        return ops.sum(ops.cast(sample_weight, "float32"))
    mask = ops.cast(mask, "float32")
    if sample_weight is None:
        return ops.sum(mask)
    weights = ops.cast(sample_weight, "float32")
    if len(weights.shape) == len(mask.shape) - 1:
        weights = ops.expand_dims(weights, -1)
    return ops.sum(mask * weights)


def _different(denominators: tuple[Denominator, ...]) -> str:
    listed = "; ".join(
        f"{one.name!r} " + ("is a sum" if one.summed else f"is a mean over {_over(one)}")
        for one in denominators
    )
    return (
        f"The losses of this model have different denominators: {listed}. One weight per batch "
        "cannot be exact for all of them. Give them the same mask and reduction, or combine them "
        "in `compute_loss` and call `report_weight` with the number that they share."
    )


def _over(one: Denominator) -> str:
    if one.per_example is None:
        return "the entries of its own mask or weights"
    return "the examples" if one.per_example == 1 else f"{one.per_example} entries an example"
