"""Adversarial training of some weights by several small steps: projected gradient.

    δ₀ = 0,    δₜ₊₁ = Π(δₜ + α · gₜ / ‖gₜ‖),    gₜ = ∇_E L(E + δₜ, w),    Π: onto the ball ‖δ‖ ≤ ε

and after K steps the optimizer is given ∇L(E + δ_K, w). Stronger than one step of the fast gradient
method where the loss bends within the ball, at K + 1 evaluations instead of 2 (Madry et al. 2018,
https://arxiv.org/abs/1706.06083). With K = 1 and α = ε it *is* `FastGradient`.

As there: the gradient is that of the perturbed loss only, what is reported and remembered is that
of the clean evaluation, all evaluations draw the same dropout masks, and no weight is overwritten.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from keras import ops

from kooler.core.selectors import Selector
from kooler.core.technique import Evaluate, Evaluation, Request
from kooler.core.types import Tensor
from kooler.steps.directions import gradients_of, moved, norm_of, of_length, with_gradients_from
from kooler.steps.step_technique import WeightTechnique, check_count, check_number

if TYPE_CHECKING:
    from kooler.core.step import Step


class ProjectedGradient(WeightTechnique):
    """Trains at the point where several steps along the gradient of some weights lead.

    Args:
        variables: Selector of the weights to perturb: layer, variable, regular expression or list.
        epsilon: The radius of the ball that the perturbation stays in; 0 is plain training.
        step_size: α, the length of one step.
        iterations: K, the number of steps.

    Example:
        >>> ProjectedGradient("embeddings", epsilon=1.0, step_size=0.3, iterations=3).inject(model)
    """

    place: ClassVar[int] = 30
    excludes: ClassVar[Mapping[str, str]] = {
        "FastGradient": "both choose the perturbation at which the model is trained."
    }

    def __init__(
        self,
        variables: Selector,
        epsilon: float = 1.0,
        *,
        step_size: float = 0.3,
        iterations: int = 3,
    ) -> None:
        self.variables = variables
        self.epsilon = check_number(self, "epsilon", epsilon)
        self.step_size = check_number(self, "step_size", step_size, zero=False)
        self.iterations = check_count(self, "iterations", iterations)

    def evaluate(self, step: "Step", request: Request, inner: Evaluate) -> Evaluation:
        """Evaluates at the weights, then on the way to the perturbed ones, then there."""
        if self.epsilon == 0:
            return inner(request)
        chosen = self.selected(step.trainable_variables)
        here = inner(request.of(variables=chosen))
        distances = self._next([0.0] * len(chosen), gradients_of(step, here, chosen))
        for _ in range(self.iterations - 1):
            there = inner(moved(step, request.of(variables=chosen), chosen, distances))
            distances = self._next(distances, gradients_of(step, there, chosen))
        return with_gradients_from(here, inner(moved(step, request, chosen, distances)))

    def _next(self, distances: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        """One step along the gradient, and back into the ball."""
        steps = of_length(gradients, self.step_size)
        distances = [distance + step for distance, step in zip(distances, steps, strict=True)]
        norm = norm_of(distances)
        inside = ops.less_equal(norm, self.epsilon)
        factor = ops.where(inside, 1.0, self.epsilon / ops.where(inside, 1.0, norm))
        return [distance * ops.cast(factor, distance.dtype) for distance in distances]
