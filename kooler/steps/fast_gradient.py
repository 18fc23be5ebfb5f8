"""Adversarial training of some weights, usually embeddings, by the fast gradient method.

    δ = ε · g / ‖g‖,   g = ∇_E L(E, w);      the optimizer is given ∇L(E + δ, w)

E are the chosen variables, w all others. The model learns under the perturbation that hurts most
to first order, which regularises text classifiers: words cannot be perturbed, their vectors can
(Goodfellow, Shlens and Szegedy 2015, https://arxiv.org/abs/1412.6572; Miyato, Dai and Goodfellow
2017, https://arxiv.org/abs/1605.07725).

The gradient is that of the loss at the perturbed point *only*, not of its sum with the clean loss:
so trains the series (spaces.ac.cn/archives/7234) with `adversarial_training` of bert4keras. It
goes by all weights, E included. Loss, metrics and BatchNorm statistics are those of the clean
evaluation; both evaluations draw the same dropout masks; E itself is never overwritten, so nothing
has to be restored.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from kooler.core.selectors import Selector
from kooler.core.technique import Evaluate, Evaluation, Request
from kooler.steps.directions import gradients_of, moved, of_length, with_gradients_from
from kooler.steps.step_technique import WeightTechnique, check_number

if TYPE_CHECKING:
    from kooler.core.step import Step


class FastGradient(WeightTechnique):
    """Trains at the point where a step along the gradient of some weights leads.

    Args:
        variables: Selector of the weights to perturb: layer, variable, regular expression or list.
        epsilon: The length of the perturbation, over all chosen weights together; 0 is plain
            training.

    Example:
        >>> model.compile("adam", loss="binary_crossentropy")
        >>> FastGradient("embeddings", epsilon=1.0).inject(model)
        >>> model.fit(ids, labels)
    """

    place: ClassVar[int] = 30
    excludes: ClassVar[Mapping[str, str]] = {
        "ProjectedGradient": "both choose the perturbation at which the model is trained."
    }

    def __init__(self, variables: Selector, epsilon: float = 1.0) -> None:
        self.variables = variables
        self.epsilon = check_number(self, "epsilon", epsilon)

    def evaluate(self, step: "Step", request: Request, inner: Evaluate) -> Evaluation:
        """Evaluates at the weights, then at the perturbed ones."""
        if self.epsilon == 0:
            return inner(request)
        chosen = self.selected(step.trainable_variables)
        here = inner(request.of(variables=chosen))
        uphill = of_length(gradients_of(step, here, chosen), self.epsilon)
        return with_gradients_from(here, inner(moved(step, request, chosen, uphill)))
