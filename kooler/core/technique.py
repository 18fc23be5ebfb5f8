"""What a technique at the step seam asks for, gets, and is: `Request`, `Evaluation`, `Technique`.

`step.py` says what happens with them.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from keras import ops

from kooler.core.batch import Batch, Data
from kooler.core.types import Tensor

if TYPE_CHECKING:
    from kooler.core.step import Step

Assignments = tuple[tuple[Any, Tensor], ...]


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Args:
        data: The batch, or any part of it.
        values: Pairs of a variable and the value to use in its place.
        state: The values of `step.state_variables` to start from; None: those of now.
        variables: By what variables to take gradients; None: all trainable ones.
    """

    data: Data
    values: Assignments = ()
    state: Sequence[Tensor] | None = None
    variables: Sequence[Any] | None = None

    def at(self, values: Sequence[tuple[Any, Tensor]]) -> "Request":
        """The same request with other values in place of some variables; later ones win."""
        replaced = {id(variable) for variable, _ in values}
        kept = [pair for pair in self.values if id(pair[0]) not in replaced]
        return dataclasses.replace(self, values=(*kept, *values))

    def of(self, **changes: Any) -> "Request":
        """The same request with other fields."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Loss:
    """The loss of a request, still differentiable.

    Args:
        value: Scalar.
        outputs: The outputs of the model.
        batch: The facts of the batch: examples, weight, touched rows.
        state: New values of `step.state_variables`; None where unchanged.
    """

    value: Tensor
    outputs: Any
    batch: Batch
    state: list[Tensor | None]

    def plus(self, penalty: Tensor) -> "Loss":
        """The same with a penalty added to the value."""
        return dataclasses.replace(self, value=self.value + ops.cast(penalty, self.value.dtype))


@dataclass(frozen=True)
class Evaluation:
    """The loss and the gradients of a request.

    Args:
        loss: Scalar, without loss scale.
        gradients: One per variable that was asked for, scaled as the optimizer expects it.  Where
            the loss does not depend on a variable: zeros on JAX, None on PyTorch and TensorFlow.
        outputs: The outputs of the model.
        batch: The facts of the batch: examples, weight, touched rows.
        state: New values of `step.state_variables`; None where unchanged.
    """

    loss: Tensor
    gradients: list[Tensor | None]
    outputs: Any
    batch: Batch
    state: list[Tensor | None]

    def with_gradients(self, gradients: Sequence[Tensor | None]) -> "Evaluation":
        """The same evaluation with other gradients."""
        return dataclasses.replace(self, gradients=list(gradients))


Evaluate = Callable[[Request], Evaluation]
ComputeLoss = Callable[[Request], Loss]


class Technique:
    """A technique at the step seam.  It overrides one of the two methods.

    `place` says where in the order it stands: lower is further outside. Techniques that change
    what the step *does with* gradients of the whole batch stand outside, those that only change
    *how* the same gradients are computed (micro-batches) stand inside.
    """

    place: ClassVar[int] = 50

    def evaluate(self, step: "Step", request: Request, inner: Evaluate) -> Evaluation:
        """Stands around an evaluation: the loss and its gradients."""
        return inner(request)

    def loss(self, step: "Step", request: Request, inner: ComputeLoss) -> Loss:
        """Stands around the loss itself, inside of what is differentiated."""
        return inner(request)


@dataclass(frozen=True)
class Plan:
    """What a model's step is made of.

    Args:
        techniques: Those registered, in any order.
        embeddings: Gives the layers whose tables are to be differentiated row by row, each with
            what reads its rows: see `rows.RowLookups`.
        report: Gives further entries for the logs, once the optimizer has run.
        gradients: On PyTorch, those of the last step.
    """

    techniques: Sequence[Technique] = ()
    embeddings: Callable[[], Sequence[tuple[Any, Any]]] = list
    report: Callable[[], dict[str, Tensor]] = dict
    gradients: list[Tensor | None] = field(default_factory=list, compare=False)
