"""Virtual adversarial training: predictions that stay the same when some weights are perturbed.

    L + D(p, p(E + r)),     r = ε · g / ‖g‖,     g = ∇_d D(p, p(E + ξ·d/‖d‖))

p are the model's own predictions, held constant, D is the Kullback–Leibler divergence, and d
starts as random noise; each iteration replaces d by g, which turns it towards the direction in
which predictions change most (power iteration). No label is needed for D, so unlabelled examples
help (Miyato, Maeda, Koyama and Ishii 2018, https://arxiv.org/abs/1704.03976; on embeddings, as
here, spaces.ac.cn/archives/7466).

Unlabelled examples come in the same batches, with any label and `sample_weight` 0: they do not
enter L, and do enter D. Keras divides L by all examples; compile the loss with
`reduction="mean_with_sample_weight"` to divide it by the labelled ones.

D follows from the compiled loss: the distributions that a categorical, sparse or binary
crossentropy takes (logits or probabilities), its mean over the examples, and over unmasked
positions. All evaluations draw the same dropout masks; state and metrics are those of the clean
one, and the reported loss is the whole. The noise depends only on how many batches were trained
on, so a run that is resumed continues with the same.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras import ops

from kooler.core import compat
from kooler.core.attach import outermost_wrappers
from kooler.core.differentiate import dense
from kooler.core.selectors import Selector
from kooler.core.technique import ComputeLoss, Loss, Request
from kooler.core.types import Tensor
from kooler.steps.directions import moved, of_length
from kooler.steps.step_technique import WeightTechnique, check_count, check_number

if TYPE_CHECKING:
    from kooler.core.step import Step

SEED = 1704
SMALLEST = 1e-7  # the least probability, as in Keras's crossentropies


class VirtualAdversarial(WeightTechnique):
    """Adds how much the predictions change under the worst perturbation of some weights.

    Args:
        variables: Selector of the weights to perturb: layer, variable, regular expression or list.
        epsilon: ε, the length of the perturbation, over all chosen weights together; 0 is plain
            training.
        xi: ξ, how far away the direction is looked for. 10 suits an embedding table, of which a
            batch touches few rows; for small weights take less.
        iterations: How often the direction is improved.

    Example:
        >>> loss = keras.losses.BinaryCrossentropy(reduction="mean_with_sample_weight")
        >>> model.compile("adam", loss=loss)
        >>> VirtualAdversarial("embeddings").inject(model)
        >>> model.fit(ids, labels, sample_weight=is_labelled)
    """

    place: ClassVar[int] = 60

    def __init__(
        self, variables: Selector, epsilon: float = 1.0, *, xi: float = 10.0, iterations: int = 1
    ) -> None:
        self.variables = variables
        self.epsilon = check_number(self, "epsilon", epsilon)
        self.xi = check_number(self, "xi", xi, zero=False)
        self.iterations = check_count(self, "iterations", iterations)
        self._noise = keras.random.SeedGenerator(SEED)

    def check(self, model: Any) -> None:
        """Refuses a model whose predictions are no distributions, as its loss says."""
        super().check(model)
        divergences_of(model)

    def loss(self, step: "Step", request: Request, inner: ComputeLoss) -> Loss:
        """Adds the divergence, still differentiable."""
        clean = inner(request)
        if self.epsilon == 0:
            return clean
        chosen = self.selected(step.trainable_variables)
        divergence = _divergence_from(divergences_of(step.model), clean.outputs)
        direction = self._noises(step, chosen)
        for _ in range(self.iterations):
            away = moved(step, request, chosen, of_length(direction, self.xi))
            direction = _gradients(step, away, chosen, lambda at: divergence(inner(at).outputs))
        there = _shifted(step, request, chosen, of_length(direction, self.epsilon))
        return clean.plus(divergence(inner(there).outputs))

    def _noises(self, step: "Step", variables: Sequence[Any]) -> list[Tensor]:
        """Normal noise, another for each variable and each batch."""
        batches = ops.cast(step.value(_batches_seen(step.optimizer)), self._noise.state.dtype)
        noises = []
        for index, variable in enumerate(variables):
            seed = ops.stack([ops.full_like(batches, SEED + 7919 * index), batches])
            with keras.StatelessScope([(self._noise.state, seed)]):
                noises.append(keras.random.normal(variable.shape, seed=self._noise))
        return noises


Divergence = Callable[[Tensor, Tensor], Tensor]


def divergences_of(model: Any) -> list[Divergence]:
    """The divergence that fits each output of a model, by its compiled loss.

    Raises:
        ValueError: A loss is not a crossentropy.
    """
    return [_divergence_of(loss) for loss in keras.tree.flatten(model.loss)]


def categorical(p: Tensor, q: Tensor, from_logits: bool) -> Tensor:
    """Kullback–Leibler divergence of classes along the last axis: [...]."""
    if from_logits:
        logs = [ops.log_softmax(x, axis=-1) for x in (p, q)]
        return ops.sum(ops.exp(logs[0]) * (logs[0] - logs[1]), axis=-1)
    p, q = (x / ops.sum(x, axis=-1, keepdims=True) for x in (p, q))
    return ops.sum(p * (_log(p) - _log(q)), axis=-1)


def binary(p: Tensor, q: Tensor, from_logits: bool) -> Tensor:
    """Kullback–Leibler divergence of independent yes-no events along the last axis: [...]."""
    if from_logits:
        p, q = ops.sigmoid(p), ops.sigmoid(q)
    yes, no = p * (_log(p) - _log(q)), (1 - p) * (_log(1 - p) - _log(1 - q))
    return ops.sum(yes + no, axis=-1)


def _divergence_of(loss: Any) -> Divergence:
    if loss is None:
        raise ValueError(
            "VirtualAdversarial compares predicted distributions, which it knows by the compiled "
            "loss, and this model is compiled without one. Compile one crossentropy (or KL "
            "divergence) for each output."
        )
    names = (loss, getattr(loss, "name", None), getattr(loss, "__name__", type(loss).__name__))
    name = next(one for one in names if isinstance(one, str))
    from_logits = bool(getattr(loss, "from_logits", False))
    if "binary" in name:
        return lambda p, q: binary(p, q, from_logits)
    if "crossentropy" in name or name.startswith("kl"):
        return lambda p, q: categorical(p, q, from_logits)
    raise ValueError(
        f"VirtualAdversarial compares predicted distributions, and the loss {name!r} does not say "
        "that the outputs are any. Compile one crossentropy (or KL divergence) for each output."
    )


def _log(x: Tensor) -> Tensor:
    return ops.log(ops.maximum(x, SMALLEST))


def _divergence_from(divergences: list[Divergence], outputs: Any) -> Callable[[Any], Tensor]:
    """The mean divergence of other outputs from these, which are held constant."""
    flat = keras.tree.flatten(outputs)
    if len(flat) != len(divergences):
        raise ValueError(
            f"The model has {len(flat)} outputs and {len(divergences)} losses, so "
            "VirtualAdversarial cannot tell what each output is. Compile one crossentropy for each."
        )
    targets = [ops.stop_gradient(_wide(output)) for output in flat]
    masks = [compat.mask_of(output) for output in flat]

    def divergence(others: Any) -> Tensor:
        parts = zip(divergences, targets, keras.tree.flatten(others), masks, strict=True)
        return sum(_mean(one(target, _wide(other)), mask) for one, target, other, mask in parts)

    return divergence


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return ops.mean(values)
    mask = ops.cast(mask, values.dtype)
    return ops.sum(values * mask) / ops.maximum(ops.sum(mask), 1.0)


def _wide(x: Tensor) -> Tensor:
    return ops.cast(x, keras.backend.result_type(x.dtype, "float32"))


def _gradients(
    step: "Step", request: Request, variables: Sequence[Any], function: Callable[[Request], Tensor]
) -> list[Tensor]:
    """Gradients of a divergence, taken with the loss scale so that half precision keeps them."""
    scale = step.loss_scale()
    found = dense(step.gradients(lambda at: function(at) * scale, request, variables))
    return [
        ops.zeros(variable.shape) if one is None else ops.stop_gradient(_wide(one) / scale)
        for variable, one in zip(variables, found, strict=True)
    ]


def _shifted(
    step: "Step", request: Request, variables: Sequence[Any], distances: Sequence[Tensor]
) -> Request:
    """As `moved`, but the gradient goes on to the weights."""
    pairs = []
    for variable, distance in zip(variables, distances, strict=True):
        here = ops.convert_to_tensor(step.value(variable, request))
        pairs.append((variable, here + ops.cast(distance, here.dtype)))
    return request.at(pairs)


def _batches_seen(optimizer: Any) -> Any:
    """The counter of `apply`, which goes on also while an optimizer only gathers gradients."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return compat.call_counter(next(outermost_wrappers(optimizer), optimizer))
