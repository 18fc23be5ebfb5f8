"""Micro-batches: one step of `fit` computes its batch part by part, and updates once.

    g = Σᵢ nᵢ·gᵢ / Σᵢ nᵢ,          nᵢ: what Keras divided the loss of part i by

is the gradient of the whole batch, exactly, because the loss of each part was a mean over nᵢ
terms: over its examples, its unmasked positions or its sample weights, as the reduction of the
loss says. A loss that is a sum has no nᵢ: gᵢ add up. Only one part's activations are in memory at
a time.

All parts run inside of the compiled step. The batch is cut into a first part of 1 … `size`
examples and then only full ones, in a loop (`lax.scan` on JAX, a `while` on TensorFlow, Python's
on PyTorch). A remainder is thus a smaller part, and not padded: examples of weight 0 would still
enter BatchNorm, activity regularizers, and losses that ignore weights.

The mean is a running one, m ← m + (nᵢ/Σn)·(gᵢ − m), so that a batch of one part is the plain step
bit for bit. Outputs are put together again: metrics see the whole batch, with its masks.

What it cannot do: BatchNorm normalises each part by itself (a warning says so), losses that compare
the examples of a batch with each other see one part at a time, and dropout draws other masks than
for the whole batch. Inside of `Accumulate` the two together give any batch size on any machine.
"""

import dataclasses
import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras import ops

from kooler.core import compat
from kooler.core.batch import Batch, Data, examples_in
from kooler.core.scan import repeat
from kooler.core.technique import Evaluate, Evaluation, Request
from kooler.core.types import Tensor
from kooler.steps.halving import Halving
from kooler.steps.joining import Joining
from kooler.steps.step_technique import StepTechnique

if TYPE_CHECKING:
    from kooler.core.step import Step

NOT_ADDITIVE = "what it adds to the loss of a batch is not the sum of what it adds to the parts."


class Microbatch(StepTechnique):
    """Computes each batch in parts of at most `size` examples.

    Args:
        size: Examples in memory at a time; or "auto": whole batches at first, and half as many
            each time the device runs out of memory, which is then tried again with the same batch.
            What it came to is in `size`.

    Example:
        >>> model.compile("adam", loss="mse")
        >>> Microbatch(16).inject(model)
        >>> model.fit(x, y, batch_size=128)  # as without, with the memory of 16 examples
    """

    place: ClassVar[int] = 90
    excludes: ClassVar[Mapping[str, str]] = {
        "Microbatch": "a batch is cut once.",
        "GradientPenalty": NOT_ADDITIVE,
        "VirtualAdversarial": NOT_ADDITIVE,
    }

    def __init__(self, size: int | str) -> None:
        whole = isinstance(size, Integral) and not isinstance(size, bool)
        if size != "auto" and not (whole and int(size) >= 1):
            raise ValueError(
                "`size` of Microbatch must be a number of examples, 1 or more, or 'auto'; received "
                f"size={size!r}."
            )
        self._halving = Halving() if size == "auto" else None
        self._size = size

    @property
    def size(self) -> int | None:
        """Examples in memory at a time; None while "auto" takes whole batches."""
        return self._halving.size if self._halving else int(self._size)

    def inject(self, model: Any) -> Any:
        """Makes it part of the training step of a model; see `StepTechnique.inject`."""
        super().inject(model)
        _warn_of_batch_statistics(model)
        if self._halving:
            self._halving.watch(model)
        return model

    def remove(self, model: Any) -> Any:
        """Takes it out of the training step again."""
        super().remove(model)
        if self._halving:
            self._halving.leave(model)
        return model

    def evaluate(self, step: "Step", request: Request, inner: Evaluate) -> Evaluation:
        """Evaluates the parts of the batch one after the other."""
        if self._halving:
            return self._halving.evaluate(
                request, lambda size: _in_parts(step, request, inner, size)
            )
        return _in_parts(step, request, inner, self.size)


def _in_parts(step: "Step", request: Request, inner: Evaluate, size: int | None) -> Evaluation:
    examples = examples_in(request.data)
    if size is None or (isinstance(examples, int) and examples <= size):
        return inner(request)
    count = (examples - 1) // size
    cut = examples - count * size  # 1 … size
    first = inner(request.of(data=_cut(request.data, slice(0, cut))))
    _warn_of_activity_regularizers(step.model, first.batch)
    join = Joining(step, request, first)

    def turn(carry: Any, index: Tensor) -> Any:
        rows = cut + index * size + ops.arange(size)
        part = request.of(data=_cut(request.data, rows), state=join.state(carry))
        return join.add(carry, inner(part))

    carry, outputs = repeat(turn, join.start(), count, join.parts(first))
    evaluation = join.evaluation(carry, outputs)
    return _without_repeated_penalties(step, request, evaluation, count)


def _cut(data: Data, rows: Any) -> Data:
    """Some examples of a batch: a slice of it, or those with given indices."""

    def of(leaf: Any) -> Any:
        if leaf is None:
            return None
        return leaf[rows] if isinstance(rows, slice) else ops.take(leaf, rows, axis=0)

    return Data(*keras.tree.map_structure(of, tuple(data)))


def _without_repeated_penalties(
    step: "Step", request: Request, evaluation: Evaluation, count: Any
) -> Evaluation:
    """Where parts are summed, each has brought the regularizers once; they count once."""
    asked = step.trainable_variables if request.variables is None else request.variables
    regularized = [v for v in step.trainable_variables if v.regularizer is not None]
    if not (evaluation.batch.summed and regularized):
        return evaluation

    def penalty(at: Request) -> Tensor:
        return sum(v.regularizer(step.value(v, at)) for v in regularized)

    surplus = ops.cast(count, "float32")
    found = step.gradients(penalty, request, regularized)
    by_variable = dict(zip(map(id, regularized), found, strict=True))
    scale = step.loss_scale() * surplus
    gradients = [
        gradient - ops.cast(scale, gradient.dtype) * by_variable[id(v)]
        if id(v) in by_variable and gradient is not None
        else gradient
        for v, gradient in zip(asked, evaluation.gradients, strict=True)
    ]
    loss = evaluation.loss - ops.cast(surplus * penalty(request), evaluation.loss.dtype)
    return dataclasses.replace(evaluation, gradients=gradients, loss=ops.stop_gradient(loss))


def _warn_of_activity_regularizers(model: Any, batch: Batch) -> None:
    """They are means over examples; only a loss that is so too gives parts their weights."""
    uneven = batch.reported is not None or any(
        one.per_example is None for one in batch.denominators
    )
    layers = [
        layer for layer in compat.flat_layers(model) if layer.activity_regularizer is not None
    ]
    if uneven and layers:
        warnings.warn(
            "Microbatch: the loss of this model is no mean over its examples, so its activity "
            f"regularizers count like the loss, part by part, not exactly ({layers[0].name!r}).",
            UserWarning,
            stacklevel=2,
        )


def _warn_of_batch_statistics(model: Any) -> None:
    names = [
        layer.name
        for layer in compat.flat_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if names:
        warnings.warn(
            f"Microbatch: the BatchNormalization layers {names} of {model.name!r} take their "
            "statistics from each part by itself, so training differs from that with whole "
            "batches. LayerNormalization or GroupNormalization do not depend on the batch.",
            UserWarning,
            stacklevel=3,
        )
