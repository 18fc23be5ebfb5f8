"""Going a distance in the direction of a gradient: what all perturbing steps have in common.

    d = length · g / ‖g‖,      ‖g‖² = Σ over all chosen variables of the sum of squares,

one vector over all chosen variables together, not one per variable. g is the gradient of the loss
without loss scale, in float32 or wider; where it is zero, so is d.

Nothing here writes a weight. An evaluation is *asked* at w + d, so after the step the weights are
what the optimizer made of w, and there is nothing to restore.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from kooler.core.technique import Evaluation, Request
from kooler.core.types import Tensor

if TYPE_CHECKING:
    from kooler.core.step import Step


def gradients_of(step: "Step", evaluation: Evaluation, variables: Sequence[Any]) -> list[Tensor]:
    """The gradients of an evaluation by `variables`: dense, wide, and without loss scale.

    Args:
        step: The running step.
        evaluation: One that was asked for the gradients by these variables, in this order.
        variables: The variables.

    Raises:
        ValueError: On PyTorch and TensorFlow, the loss depends on none of them.
    """
    rows = evaluation.batch.rows
    pairs = list(zip(variables, evaluation.gradients, strict=True))
    if all(gradient is None and id(variable) not in rows for variable, gradient in pairs):
        raise ValueError(
            f"The loss depends on none of the variables {[v.path for v in variables]}, so there is "
            "no direction to go. Select variables that the model uses in training."
        )
    scale = step.loss_scale()
    return [
        _wide(variable, gradient, rows.get(id(variable)), scale) for variable, gradient in pairs
    ]


def norm_of(tensors: Sequence[Tensor]) -> Tensor:
    """The length of several tensors as one vector: a scalar."""
    return ops.sqrt(sum(ops.sum(ops.square(tensor)) for tensor in tensors))


def of_length(tensors: Sequence[Tensor], length: Tensor | float) -> list[Tensor]:
    """The tensors as one vector, stretched to a length; a zero vector stays zero."""
    norm = norm_of(tensors)
    factor = length / ops.where(ops.equal(norm, 0), ops.ones_like(norm), norm)
    return [tensor * ops.cast(factor, tensor.dtype) for tensor in tensors]


def moved(
    step: "Step", request: Request, variables: Sequence[Any], distances: Sequence[Tensor]
) -> Request:
    """The same request with `variables` moved by `distances`, through which no gradient goes."""
    pairs = []
    for variable, distance in zip(variables, distances, strict=True):
        here = step.value(variable, request)
        pairs.append((variable, ops.stop_gradient(here + ops.cast(distance, here.dtype))))
    return request.at(pairs)


def with_gradients_from(here: Evaluation, there: Evaluation) -> Evaluation:
    """What is reported and remembered of `here`, with all gradients of `there`."""
    batch = dataclasses.replace(here.batch, rows=there.batch.rows)
    return dataclasses.replace(here, gradients=there.gradients, batch=batch)


def _wide(variable: Any, gradient: Tensor | None, rows: Any, scale: Tensor) -> Tensor:
    dtype = keras.backend.result_type(variable.dtype, "float32")
    if rows is not None:  # rows are looked up several times; `scatter` adds them up
        places = ops.expand_dims(rows.ids, -1)
        return ops.scatter(places, ops.cast(rows.gradients, dtype), tuple(variable.shape))
    if gradient is None:
        return ops.zeros(variable.shape, dtype)
    return ops.cast(gradient, dtype) / ops.cast(scale, dtype)
