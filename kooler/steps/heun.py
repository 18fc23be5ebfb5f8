"""Heun's method: try a plain step, look at the gradient there, step by the mean of both.

    p̃ = p − η · g(p),      p ← p − η · ½ (g(p) + g(p̃))

is the trapezoidal rule for the gradient flow dp/dt = −g(p): its error falls with η² over a given
time, that of gradient descent with η (spaces.ac.cn/archives/5879, whose author adds that such
methods rarely pay in deep learning; they are worth having where the path itself matters).

The trial step is a plain one, by the optimizer's current learning rate η, and the optimizer is
given the mean of the two gradients. Under `SGD(η)` that is Heun's method exactly; any other
optimizer does with the mean gradient what it does with gradients. What is reported and remembered
(loss, metrics, BatchNorm) is of the evaluation at p; both draw the same dropout masks.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from keras import ops

from kooler.core.batch import Rows
from kooler.core.technique import Evaluate, Evaluation, Request
from kooler.core.types import Tensor
from kooler.steps.directions import gradients_of, moved
from kooler.steps.step_technique import StepTechnique

if TYPE_CHECKING:
    from kooler.core.step import Step


class Heun(StepTechnique):
    """Averages the gradient at the weights with that after a plain step.

    Example:
        >>> model.compile(keras.optimizers.SGD(0.1), loss="mse")
        >>> Heun().inject(model)
    """

    place: ClassVar[int] = 10
    excludes: ClassVar[Mapping[str, str]] = {"Heun": "the method has two evaluations, not four."}

    def evaluate(self, step: "Step", request: Request, inner: Evaluate) -> Evaluation:
        """Evaluates at the weights, then where a plain step leads."""
        variables = step.trainable_variables
        here = inner(request)
        rate = _learning_rate(step.optimizer)
        downhill = [
            -ops.cast(rate, gradient.dtype) * gradient
            for gradient in gradients_of(step, here, variables)
        ]
        return _mean(here, inner(moved(step, request, variables, downhill)))


def _learning_rate(optimizer: Any) -> Tensor:
    try:
        rate = optimizer.learning_rate
    except AttributeError:
        rate = None
    if rate is None:
        raise ValueError(
            f"Heun needs one learning rate for its trial step, and {type(optimizer).__name__} has "
            "none. Use an optimizer with a single learning rate."
        )
    return ops.convert_to_tensor(rate)


def _mean(here: Evaluation, there: Evaluation) -> Evaluation:
    gradients = [_half(*pair) for pair in zip(here.gradients, there.gradients, strict=True)]
    rows = {key: _both(rows, there.batch.rows[key]) for key, rows in here.batch.rows.items()}
    return dataclasses.replace(here, gradients=gradients, batch=here.batch.with_rows(rows))


def _half(one: Tensor | None, two: Tensor | None) -> Tensor | None:
    return None if one is None or two is None else (one + two) * 0.5


def _both(one: Rows, two: Rows) -> Rows:
    """The looked-up rows of both, each with half of its gradient; those with one id add up."""
    gradients = ops.concatenate([one.gradients * 0.5, two.gradients * 0.5])
    return Rows(ops.concatenate([one.ids, two.ids]), gradients)
