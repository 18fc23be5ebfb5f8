"""What every technique of this room has: `inject`, `remove`, and an eye on its neighbours.

Techniques nest in the order of their `place`, low outside:

    Heun 10 · SharpnessAware 20 · FastGradient, ProjectedGradient 30   several evaluations of
    VirtualAdversarial 60 · GradientPenalty 70                         a loss with a penalty, each
    Microbatch 90                                                      computed part by part

Whatever is outside acts on the gradients that the inside gives it, at the weights where it asks.
Where a combination has no meaning, `excludes` says why, and injecting it is an error; a model may
say the same of itself (`excluded_techniques`).
"""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

from kooler.core.attach import attachment_of, register, unregister
from kooler.core.selectors import Selector, select
from kooler.core.technique import Technique


class StepTechnique(Technique):
    """A technique of the step that is injected into a compiled model."""

    excludes: ClassVar[Mapping[str, str]] = {}
    """Names of techniques that cannot stand beside this one, with the reason."""

    def inject(self, model: Any) -> Any:
        """Makes it part of the training step of a model.

        Args:
            model: Any compiled Keras model without a `train_step` of its own. Compiling it again
                keeps the technique.

        Returns:
            The model.

        Raises:
            ValueError: The model is not compiled, has a step of its own, has this already, or has a
                technique that cannot be combined with it.
        """
        if getattr(model, "compiled", False):
            for other in attachment_of(model).techniques:
                self._check_beside(other)
            self._check_model(model)
            self.check(model)
        register(model, self)
        return model

    def remove(self, model: Any) -> Any:
        """Takes it out of the training step again.

        Args:
            model: The model that it was injected into.

        Returns:
            The model.

        Raises:
            ValueError: It is not part of this model's step.
        """
        unregister(model, self)
        return model

    def check(self, model: Any) -> None:
        """Refuses a compiled model that it does not fit; a technique overrides it."""

    def _check_model(self, model: Any) -> None:
        reason = getattr(model, "excluded_techniques", {}).get(type(self).__name__)
        if reason is not None:
            raise ValueError(
                f"{type(self).__name__} cannot be combined with {model.name!r}, a "
                f"{type(model).__name__}: {reason}"
            )

    def _check_beside(self, other: Technique) -> None:
        names = type(self).__name__, type(other).__name__
        reason = self.excludes.get(names[1])
        if reason is None and isinstance(other, StepTechnique):
            reason = other.excludes.get(names[0])
        if reason is not None and other is not self:
            raise ValueError(
                f"{names[0]} cannot be combined with the {names[1]} that this model has: {reason} "
                f"Remove the {names[1]} first, or leave {names[0]} out."
            )


class WeightTechnique(StepTechnique):
    """A technique that acts on some of the weights, named by a selector."""

    variables: Selector

    def check(self, model: Any) -> None:
        """Refuses a selector that matches nothing, as soon as there are weights."""
        if model.trainable_variables:
            self.selected(model.trainable_variables)

    def selected(self, variables: Any) -> list[Any]:
        """The chosen ones among the trainable variables of a model."""
        return select(self.variables, variables)


def check_number(owner: object, name: str, value: Any, *, zero: bool = True) -> float:
    """The argument of a technique as a number, or an error that names it.

    Args:
        owner: The technique. name: The argument. value: What was given. zero: Whether 0 is a
            possible value.
    """
    fits = isinstance(value, Real) and not isinstance(value, bool)
    if not fits or not (value >= 0 if zero else value > 0) or value == float("inf"):
        rule = "a finite number, 0 or more" if zero else "a finite number above 0"
        raise ValueError(
            f"`{name}` of {type(owner).__name__} must be {rule}, received {name}={value!r}."
        )
    return float(value)


def check_count(owner: object, name: str, value: Any) -> int:
    """The argument of a technique as a whole number of at least 1, or an error that names it."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise ValueError(
            f"`{name}` of {type(owner).__name__} must be a whole number of at least 1, received "
            f"{name}={value!r}."
        )
    return int(value)
