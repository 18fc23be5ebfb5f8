"""Sharpness-aware minimisation: descend by the gradient at the worst point nearby.

    ĝ  = ∇L(w + ρ · ∇L(w) / ‖∇L(w)‖)

goes to the optimizer instead of ∇L(w), so that training prefers flat minima, where the loss stays
low all around (Foret, Kleiner, Mobahi and Neyshabur 2021, https://arxiv.org/abs/2010.01412, eq. 2
and 3). ‖·‖ is the norm over all trainable weights together.

Two evaluations a step. As in the authors' code, BatchNorm statistics come from the first, at w; so
do the reported loss and metrics, and both evaluations draw the same dropout masks.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from kooler.core.technique import Evaluate, Evaluation, Request
from kooler.steps.directions import gradients_of, moved, of_length, with_gradients_from
from kooler.steps.step_technique import StepTechnique, check_number

if TYPE_CHECKING:
    from kooler.core.step import Step


class SharpnessAware(StepTechnique):
    """Takes the gradient at the worst point within a distance of the weights.

    Args:
        rho: The distance; 0 is plain training. The paper uses 0.05 for ResNets on images.

    Example:
        >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss="mse")
        >>> SharpnessAware(rho=0.05).inject(model)
        >>> model.fit(x, y)
    """

    place: ClassVar[int] = 20
    excludes: ClassVar[Mapping[str, str]] = {
        "SharpnessAware": "the worst point near the worst point is no neighbourhood of w."
    }

    def __init__(self, rho: float = 0.05) -> None:
        self.rho = check_number(self, "rho", rho)

    def evaluate(self, step: "Step", request: Request, inner: Evaluate) -> Evaluation:
        """Evaluates at the weights, then uphill of them."""
        if self.rho == 0:
            return inner(request)
        variables = step.trainable_variables
        here = inner(request.of(variables=None))
        uphill = of_length(gradients_of(step, here, variables), self.rho)
        return with_gradients_from(here, inner(moved(step, request, variables, uphill)))
