"""What one step, and many steps without a gradient, do to a row of a table: per optimizer.

With the learning rate η, and k steps in which a row has no gradient:

| optimizer | step with gradient g                    | k steps without                      |
|-----------|-----------------------------------------|--------------------------------------|
| SGD       | θ ← θ − η·g                             | nothing                              |
| momentum  | m ← μ·m − η·g;  θ ← θ + m               | m·μᵏ;  θ + m·S(μ)                    |
| Nesterov  | the same;  θ ← θ + μ·m − η·g            | m·μᵏ;  θ + μ·m·S(μ)                  |
| Adam      | m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²; | m·β₁ᵏ;  v·β₂ᵏ;                       |
|           | θ ← θ − αₜ·m / (√v + ε)                 | θ − α·m / (√v + ε) · S(β₁/√β₂)       |
| Adagrad   | a ← a + g²;  θ ← θ − η·g / √(a + ε)     | nothing                              |

with S(ρ) = ρ + ρ² + … + ρᵏ and Keras's αₜ = ηₜ·√(1 − β₂ᵗ) / (1 − β₁ᵗ). Decoupled weight decay
multiplies θ by q = 1 − η·λ before each step, so that after k of them

    θ  ←  qᵏ · (θ + drift),      drift with ρ/q in place of ρ.

For momentum that is exact, where λ = 0 whatever η does. For Adam it takes α as it was when the row
was last touched (a geometric series that is over after some tens of steps), and ε small beside √v.

The series for Adam is that of Caffe2's "smart decay", https://github.com/pytorch/pytorch/pull/61548,
and of HugeCTR's LazyGlobal; with weight decay it is ours.
"""

from typing import Any

from keras import ops

from kooler.core.types import Tensor

Slots = list[Tensor]


class Rule:
    """Plain descent: there is nothing to remember.

    Args:
        optimizer: The Keras optimizer whose arithmetic it is.
    """

    slots: tuple[str, ...] = ()
    """What is remembered of a row, each as wide as the row."""

    start = 0.0
    """What the slots begin with."""

    fades = False
    """Whether the slots change without a gradient."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def step(
        self, rows: Tensor, slots: Slots, gradients: Tensor, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """One step with a gradient.

        Args:
            rows: [m, dimension]. slots: Each [m, dimension]. gradients: [m, dimension].
            rate: Scalar, the learning rate. count: Scalar, t = 1 for the first step.

        Returns:
            The rows and the slots after it.
        """
        return rows - gradients * rate, slots

    def faded(self, slots: Slots, missed: Tensor) -> Slots:
        """The slots after steps without gradient; `missed` [m, 1] is the number of them."""
        return slots

    def drift(
        self, slots: Slots, missed: Tensor, rate: Tensor, count: Tensor, keep: Tensor
    ) -> Tensor | float:
        """How far the rows move in steps without gradient, divided by their weight decay.

        Args:
            slots: Each [m, dimension], at the last touch. missed: [m, 1], k.
            rate: [m, 1], the learning rate of the last touch. count: [m, 1], its t, 0 for never.
            keep: [m, 1], q of one step, 1 without weight decay.
        """
        return 0.0


class MomentumRule(Rule):
    """Momentum, also Nesterov's."""

    slots = ("momentum",)
    fades = True

    def step(
        self, rows: Tensor, slots: Slots, gradients: Tensor, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """See `Rule.step`."""
        decay = self.optimizer.momentum
        moving = slots[0] * decay - gradients * rate
        ahead = moving * decay - gradients * rate if self.optimizer.nesterov else moving
        return rows + ahead, [moving]

    def faded(self, slots: Slots, missed: Tensor) -> Slots:
        """See `Rule.faded`."""
        return [slots[0] * _power(self.optimizer.momentum, missed)]

    def drift(
        self, slots: Slots, missed: Tensor, rate: Tensor, count: Tensor, keep: Tensor
    ) -> Tensor | float:
        """See `Rule.drift`."""
        decay = self.optimizer.momentum
        ahead = decay if self.optimizer.nesterov else 1.0
        return ahead * slots[0] * _series(decay / keep, missed)


class AdamRule(Rule):
    """Adam and AdamW."""

    slots = ("momentum", "velocity")
    fades = True

    def step(
        self, rows: Tensor, slots: Slots, gradients: Tensor, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """See `Rule.step`; in Keras's order, to its bits."""
        first, second = slots
        first = first + (gradients - first) * (1 - self.optimizer.beta_1)
        second = second + (ops.square(gradients) - second) * (1 - self.optimizer.beta_2)
        root = ops.sqrt(second) + self.optimizer.epsilon
        return rows - first * self._corrected(rate, count) / root, [first, second]

    def faded(self, slots: Slots, missed: Tensor) -> Slots:
        """See `Rule.faded`."""
        first, second = slots
        return [
            first * _power(self.optimizer.beta_1, missed),
            second * _power(self.optimizer.beta_2, missed),
        ]

    def drift(
        self, slots: Slots, missed: Tensor, rate: Tensor, count: Tensor, keep: Tensor
    ) -> Tensor | float:
        """See `Rule.drift`."""
        first, second = slots
        root = ops.sqrt(second) + self.optimizer.epsilon
        direction = first / ops.where(root > 0, root, 1.0)
        ratio = self.optimizer.beta_1 / (self.optimizer.beta_2**0.5 * keep)
        return -self._corrected(rate, ops.maximum(count, 1)) * direction * _series(ratio, missed)

    def _corrected(self, rate: Tensor, count: Tensor) -> Tensor:
        first, second = self.optimizer.beta_1, self.optimizer.beta_2
        return rate * ops.sqrt(1 - _power(second, count)) / (1 - _power(first, count))


class AdagradRule(Rule):
    """Adagrad."""

    slots = ("accumulator",)

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self.start = optimizer.initial_accumulator_value

    def step(
        self, rows: Tensor, slots: Slots, gradients: Tensor, rate: Tensor, count: Tensor
    ) -> tuple[Tensor, Slots]:
        """See `Rule.step`."""
        total = slots[0] + ops.square(gradients)
        return rows - rate * gradients / ops.sqrt(total + self.optimizer.epsilon), [total]


def rule_of(optimizer: Any, untouched: str) -> Rule:
    """The rule of a Keras optimizer.

    Args:
        optimizer: What is to be done to the rows.
        untouched: What is to happen to the others.

    Raises:
        ValueError: There is none for this class, or not for these settings.
    """
    rules: dict[str, type[Rule]] = {
        "SGD": MomentumRule if getattr(optimizer, "momentum", 0) else Rule,
        "Adam": AdamRule,
        "AdamW": AdamRule,
        "Adagrad": AdagradRule,
    }
    name = type(optimizer).__name__
    of_keras = type(optimizer).__module__.partition(".")[0] == "keras"  # PyTorch has subclasses
    if name not in rules or not of_keras:
        raise ValueError(
            f"Lazy knows the arithmetic of Keras's {', '.join(rules)}, not that of {name}. Use one "
            "of them; kooler's wrappers stand around Lazy, not inside: Accumulate(Lazy('adam'))."
        )
    _check(optimizer, untouched)
    return rules[name](optimizer)


def _check(optimizer: Any, untouched: str) -> None:
    name = type(optimizer).__name__
    if optimizer.use_ema or optimizer.gradient_accumulation_steps:
        raise ValueError(
            f"Lazy moves the rows itself, so `use_ema` and `gradient_accumulation_steps` of {name} "
            "would miss them. Write WeightAverage(Lazy(…)) or Accumulate(Lazy(…))."
        )
    if getattr(optimizer, "amsgrad", False):
        raise ValueError(f"Lazy does not know {name} with amsgrad=True. Leave `amsgrad` out.")
    betas = [getattr(optimizer, name, 0.0) for name in ("beta_1", "beta_2")]
    if untouched == "catch_up" and betas[1] and betas[0] ** 2 >= betas[1]:
        raise ValueError(
            f"With beta_1={betas[0]} and beta_2={betas[1]} the missed steps of {name} grow without "
            "end. untouched='catch_up' needs beta_1² < beta_2."
        )


def _power(base: float, exponent: Tensor) -> Tensor:
    return ops.power(ops.cast(base, exponent.dtype), exponent)


def _series(ratio: Tensor, count: Tensor) -> Tensor:
    """ρ + ρ² + … + ρᵏ."""
    is_one = ops.abs(1 - ratio) < 1e-6
    other = ops.where(is_one, 0.5, ratio)
    return ops.where(is_one, count, other * (1 - ops.power(other, count)) / (1 - other))
