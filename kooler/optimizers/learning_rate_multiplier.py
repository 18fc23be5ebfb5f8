"""A learning rate of its own for some of the weights.

What is scaled is the step, not the gradient, which Adam and its like would divide out again:

    θ ← θ₀ + λ·(θ′ − θ₀),        θ₀ before and θ′ after the step of the inner optimizer.

So λ is a factor of the learning rate for every optimizer, with all that is multiplied by it: the
decoupled weight decay of AdamW, η·w·θ in Keras, becomes λ·η·w·θ.  With λ = 1 the inner optimizer is
left alone, with λ = 0 the weight stands still, both bit for bit.

A layer that computes with θ = λφ and trains φ has the same effect by detour (Su Jianlin,
https://kexue.fm/archives/6418): λ² here for SGD with or without momentum, λ for Adam, whose step
does not know how large the gradient is.  Here the weights stay the true ones, the factor may change
while training, and one need not know the optimizer's family.

A constraint of the weight is kept: the inner optimizer applies it to its step, and it is applied
once more to the scaled one.
"""

import functools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kooler.core import compat, selectors
from kooler.core.attach import inner_optimizers
from kooler.core.types import Tensor
from kooler.optimizers.wrapper import OptimizerWrapper, as_optimizer

Multiplier = float | Callable[[Tensor], Tensor]


@keras.saving.register_keras_serializable("kooler")
class LearningRateMultiplier(OptimizerWrapper):
    """Multiplies the learning rate of selected variables; the others keep it.

    Args:
        inner_optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        multipliers: A dictionary or a list of pairs: selector, and a number ≥ 0 or a function of
            the number of updates taken so far, for instance a Keras learning rate schedule.
        name: A name, as for any optimizer.

    Raises:
        ValueError: When it is built: a selector matches nothing, or two match one variable.

    Example:
        >>> LearningRateMultiplier("adam", {"backbone": 0.1, "crf": 100.0})
        >>> LearningRateMultiplier("adam", layer_decay(model, 0.75))
    """

    passes_rows = True  # `_check_no_rows` looks after them

    def __init__(
        self,
        inner_optimizer: Any,
        multipliers: Mapping[Any, Multiplier] | Sequence[tuple[Any, Multiplier]],
        *,
        name: str | None = None,
    ) -> None:
        rules = _rules(multipliers)
        inner = as_optimizer(inner_optimizer, type(self).__name__)
        _check_no_second_weights(inner)
        super().__init__(inner, name=name)
        with compat.untracked():
            self._rules = rules

    def multiplier_of(self, selector: Any) -> Multiplier:
        """The number, or the function, of a selector, which is given as it was to the wrapper."""
        rule = self._rule(selector)
        return rule.value if rule.variable is None else float(ops.convert_to_numpy(rule.variable))

    def set_multiplier(self, selector: Any, multiplier: float) -> None:
        """Changes the number of a selector, also between the epochs or batches of a training.

        Args:
            selector: As it was given to the wrapper. multiplier: The new number.

        Raises:
            ValueError: There is no such selector, or its multiplier is a function.
        """
        rule = self._rule(selector)
        number = checked_multiplier(selector, multiplier)
        if callable(rule.value) or callable(number):
            raise ValueError(
                f"Only a number can be exchanged for a number, but the multiplier of "
                f"{selectors.shown(selector)} is {rule.value!r} and is to become {number!r}. "
                "Let the function depend on the number of updates, or begin with a number."
            )
        rule.value = number
        if rule.variable is not None:
            rule.variable.assign(number)

    def build_slots(self, variables: Sequence[Any]) -> None:
        """One scalar for each number, so that it can change without compiling anew."""
        claims = selectors.select_each([(rule.selector, rule) for rule in self._rules], variables)
        self._rule_of = {
            id(variable): rule
            for variable, rule in zip(variables, claims, strict=True)
            if rule is not None
        }
        dtype = "float64" if keras.config.floatx() == "float64" else "float32"
        for rule in self._rules:
            if not callable(rule.value):
                start = keras.initializers.Constant(rule.value)
                rule.variable = self.add_variable((), start, dtype, name="multiplier")

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Lets the inner optimizer take its step, and scales it."""
        self._check_no_rows()
        self._scale(functools.partial(super().update, gradients, variables), variables)

    def settle(self, reason: str) -> None:
        """What the wrappers inside apply now is a step as well."""
        if self.built:
            self._scale(functools.partial(super().settle, reason), self._book.variables)

    def get_config(self) -> dict[str, Any]:
        """The arguments; layers and variables become regular expressions."""
        variables = self._book.variables if self.built else ()
        multipliers = [
            [
                selectors.as_config(rule.selector, variables),
                multiplier_as_config(rule.selector, rule.value),
            ]
            for rule in self._rules
        ]
        return {**super().get_config(), "multipliers": multipliers}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the wrapper, the optimizer inside of it, and the functions."""
        multipliers = keras.saving.deserialize_keras_object(config["multipliers"], custom_objects)
        return super().from_config({**config, "multipliers": multipliers}, custom_objects)

    def _scale(self, step: Callable[[], None], variables: Sequence[Any]) -> None:
        claimed = [variable for variable in variables if id(variable) in self._rule_of]
        taken = ops.copy(ops.convert_to_tensor(self.iterations))
        before = [ops.copy(ops.convert_to_tensor(variable)) for variable in claimed]
        step()
        for variable, start in zip(claimed, before, strict=True):
            factor = ops.cast(self._rule_of[id(variable)].factor(taken), variable.dtype)
            self.assign(variable, _scaled(variable, start, factor))

    def _rule(self, selector: Any) -> "_Rule":
        for rule in self._rules:
            if rule.selector is selector or _equal_texts(rule.selector, selector):
                return rule
        raise ValueError(
            f"There is no multiplier for {selectors.shown(selector)}; there are those for "
            f"{', '.join(selectors.shown(rule.selector) for rule in self._rules)}."
        )

    def _check_no_rows(self) -> None:
        tables = [table.path for table, _ in self.touched_rows if id(table) in self._rule_of]
        if tables:
            raise ValueError(
                f"The gradients of {tables} are taken by rows, by a wrapper that moves them on its "
                "own, so a LearningRateMultiplier cannot scale them. Give that wrapper's inner "
                "optimizer another learning rate, or leave these variables out of `multipliers`."
            )


def checked_multiplier(selector: Any, value: Any) -> Multiplier:
    """The multiplier, if it is one: a number ≥ 0 or a function."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        if 0 <= float(value) < math.inf:
            return float(value)
    elif callable(value):
        return value
    raise ValueError(
        f"The multiplier of {selectors.shown(selector)} must be a number ≥ 0 or a function of the "
        f"number of updates, received {value!r}."
    )


def multiplier_as_config(selector: Any, value: Multiplier) -> Any:
    """Writes a number or a function so that it can be saved."""
    if not callable(value):
        return value
    if getattr(value, "__name__", "") == "<lambda>":
        raise ValueError(
            f"The multiplier of {selectors.shown(selector)} is a lambda, which cannot be saved. "
            "Use a Keras learning rate schedule, or a named function under "
            "@keras.saving.register_keras_serializable(); or save the weights only."
        )
    return keras.saving.serialize_keras_object(value)


class _Rule:
    """A selector, what it is multiplied by, and the variable in which a number is kept."""

    def __init__(self, selector: Any, value: Any) -> None:
        self.selector = selector
        self.value = checked_multiplier(selector, value)
        self.variable: Any = None

    def factor(self, updates: Tensor) -> Tensor:
        """The multiplier for the update after so many."""
        if callable(self.value):
            return self.value(updates)
        return ops.convert_to_tensor(self.variable)


def _scaled(variable: Any, before: Tensor, factor: Tensor) -> Tensor:
    after = ops.convert_to_tensor(variable)
    moved = before + factor * (after - before)
    if variable.constraint is not None:
        moved = variable.constraint(moved)
    still = ops.where(ops.equal(factor, 0), before, moved)  # 0·∞ would not stand still
    return ops.where(ops.equal(factor, 1), after, still)


def _rules(multipliers: Any) -> list[_Rule]:
    if isinstance(multipliers, str) or not isinstance(multipliers, Mapping | Sequence):
        raise TypeError(
            "`multipliers` must be a dictionary or a list of pairs (selector, multiplier), "
            f"received {multipliers!r}. Write {{'head': 10.0}}."
        )
    try:
        rules = [_Rule(selector, value) for selector, value in selectors.pairs(multipliers)]
    except (TypeError, ValueError) as error:
        if "unpack" not in str(error):
            raise
        raise TypeError(
            "`multipliers` must be a dictionary or a list of pairs (selector, multiplier), "
            f"received {multipliers!r}, whose entries are no pairs."
        ) from error
    if not rules:
        raise ValueError(
            f"`multipliers` is empty: received {multipliers!r}. Name at least one selector, or use "
            "the inner optimizer alone."
        )
    return rules


def _equal_texts(one: Any, other: Any) -> bool:
    try:
        return bool(selectors.as_config(one) == selectors.as_config(other))
    except (TypeError, ValueError):
        return False


def _check_no_second_weights(optimizer: Any) -> None:
    """Keras's optimizers that keep weights of their own beside the model's, which nobody scales."""
    for inner in inner_optimizers(optimizer):
        _check_no_second_weights(inner)
    schedule_free = getattr(keras.optimizers, "ScheduleFreeAdamW", ())
    if getattr(optimizer, "use_ema", False):
        keeps, way_out = "an average (use_ema=True)", "Put a WeightAverage around the multiplier."
    elif isinstance(optimizer, schedule_free):
        keeps, way_out = "a second sequence of weights", "Give each group its own optimizer."
    else:
        return
    raise ValueError(
        f"LearningRateMultiplier cannot scale {type(optimizer).__name__}, which keeps {keeps} "
        f"beside the weights of the model. {way_out}"
    )
