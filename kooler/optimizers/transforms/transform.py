"""What the transforms of this library have in common: they can be saved, and skip what is None.

To `GradientTransform` any function `f(gradients, variables) → gradients` is a transform.  Those
made here know besides how they were made, so that an optimizer can be saved with them; they may
have a state (the step of the noise, a counter) and may hear of the model, to see what a weight is
used for.
"""

import importlib
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kooler.core.types import Tensor

Function = Callable[[Sequence[Tensor], Sequence[Any]], Sequence[Tensor]]
OURS = "kooler.optimizers.transforms"


class Transform:
    """A function of gradients and their variables.

    Args:
        name: The public function that makes it.
        arguments: What to call that function with, to make it again.
        function: What it does with gradients none of which is None.
    """

    def __init__(self, name: str, arguments: dict[str, Any], function: Function) -> None:
        self.name = name
        self.arguments = arguments
        self.function = function

    def __call__(
        self, gradients: Sequence[Tensor | None], variables: Sequence[Any]
    ) -> list[Tensor | None]:
        """The new gradients; where there is None, None stays."""
        given = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        new = iter(self.function([g for g, _ in given], [v for _, v in given]))
        return [None if gradient is None else next(new) for gradient in gradients]

    def __repr__(self) -> str:
        listed = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.name}({listed})"

    @property
    def state(self) -> list[Any]:
        """The variables that it keeps; they are saved with the optimizer."""
        return []

    def bind(self, model: Any) -> None:
        """Hears which model the gradients are of."""

    def build(self, variables: Sequence[Any]) -> None:
        """Hears which variables there are, before the first gradient."""

    def get_config(self) -> dict[str, Any]:
        """How to make it again."""
        return {"transform": self.name, "arguments": self.arguments}


def each(function: Callable[[Tensor], Tensor]) -> Function:
    """The transform that treats every gradient alone."""
    return lambda gradients, variables: [function(gradient) for gradient in gradients]


def positive(name: str, value: Any) -> float:
    """Checks that an argument is a number above zero."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if number and 0 < float(value) < math.inf:
        return float(value)
    raise ValueError(
        f"`{name}` must be a number above 0, received {name}={value!r}. "
        "To do without a transform, leave it out."
    )


def as_config(transform: Any) -> Any:
    """Writes a transform, or a function registered with Keras, so that it can be saved."""
    if isinstance(transform, Transform):
        return transform.get_config()
    name = getattr(transform, "__name__", type(transform).__name__)
    if name == "<lambda>":
        raise ValueError(
            "A lambda among the transforms cannot be saved. Write a named function under "
            "@keras.saving.register_keras_serializable(), or save the weights only."
        )
    return keras.saving.serialize_keras_object(transform)


def from_config(config: Any, custom_objects: Any = None) -> Any:
    """Makes what `as_config` wrote."""
    if "transform" not in config:
        return keras.saving.deserialize_keras_object(config, custom_objects)
    arguments = dict(config["arguments"])
    if "transform" in arguments:
        arguments["transform"] = from_config(arguments["transform"], custom_objects)
    make = getattr(importlib.import_module(OURS), config["transform"])
    return make(**arguments)
