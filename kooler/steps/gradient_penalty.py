"""A penalty on the gradient of the loss by some weights, usually embeddings.

    L + λ · ‖∇_E L‖²

asks for a loss that hardly changes when E does. Expanding the loss of the fast gradient method
(`FastGradient`) to first order around E gives L + ε‖∇_E L‖: the same wish, said as a penalty. The
square is smooth at zero (spaces.ac.cn/archives/7234, where λ = ε/2; for inputs instead of weights,
Drucker and LeCun 1992, https://doi.org/10.1109/72.165600).

The penalty is differentiated by all weights, which takes a derivative of a derivative: every layer
between E and the loss must be twice differentiable. The reported loss is the whole, penalty
included.
"""

from typing import TYPE_CHECKING, ClassVar

from keras import ops

from kooler.core.differentiate import dense
from kooler.core.selectors import Selector
from kooler.core.technique import ComputeLoss, Loss, Request
from kooler.steps.step_technique import WeightTechnique, check_number

if TYPE_CHECKING:
    from kooler.core.step import Step


class GradientPenalty(WeightTechnique):
    """Adds the squared norm of the gradient by some weights to the loss.

    Args:
        variables: Selector of the weights E: layer, variable, regular expression or list.
        weight: λ; 0 is plain training.

    Example:
        >>> GradientPenalty("embeddings", weight=0.5).inject(model)
    """

    place: ClassVar[int] = 70

    def __init__(self, variables: Selector, weight: float = 1.0) -> None:
        self.variables = variables
        self.weight = check_number(self, "weight", weight)

    def loss(self, step: "Step", request: Request, inner: ComputeLoss) -> Loss:
        """Adds the penalty, still differentiable."""
        if self.weight == 0:
            return inner(request)
        chosen = self.selected(step.trainable_variables)
        scale = step.loss_scale()  # small gradients survive half precision only with it

        def scaled(at: Request) -> object:
            value = inner(at).value
            return value * ops.cast(scale, value.dtype)

        found = dense(step.gradients(scaled, request, chosen))
        gradients = [ops.cast(one, "float32") for one in found if one is not None]
        if not gradients:
            raise ValueError(
                f"The loss depends on none of the variables {[v.path for v in chosen]}, so their "
                "gradient cannot be penalised. Select variables that the model uses in training."
            )
        squares = sum(ops.sum(ops.square(gradient / scale)) for gradient in gradients)
        return inner(request).plus(self.weight * squares)
