"""A group of variables and what is special about it; `ParamGroups` gives each its optimizer.

A group without an optimizer of its own gets a copy of the default, with another weight decay or
clipping if it says so.  The copy follows the learning rate of the default: whoever sets that,
a callback for instance, sets all of them.
"""

import dataclasses
import math
import numbers
from typing import Any

import keras

from kooler.core import compat, selectors
from kooler.optimizers.learning_rate_multiplier import (
    LearningRateMultiplier,
    checked_multiplier,
    multiplier_as_config,
)

EVERY_VARIABLE = "."
ABOUT_ALL_VARIABLES = {"global_clipnorm": None, "loss_scale_factor": None}


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Selected variables, and what is special about how they are trained.

    Args:
        selector: A layer, a variable, a regular expression, or a list of these.
        optimizer: An optimizer of its own, or its name; by default a copy of the default.
        lr_multiplier: A number ≥ 0, or a function of the number of updates.
        weight_decay: Instead of the optimizer's; 0 for none.
        clipnorm: Largest norm of each single gradient, instead of the optimizer's own clipping.
        frozen: Whether the variables are not trained at all, and nothing is kept for them.
    """

    selector: Any
    _: dataclasses.KW_ONLY
    optimizer: Any = None
    lr_multiplier: Any = 1.0
    weight_decay: float | None = None
    clipnorm: float | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        """Checks everything that can be checked without the variables."""
        checked_multiplier(self.selector, self.lr_multiplier)
        self._check("weight_decay", self.weight_decay, zero=True)
        self._check("clipnorm", self.clipnorm, zero=False)
        others = (self.optimizer, self.weight_decay, self.clipnorm)
        if self.frozen and (any(one is not None for one in others) or self.lr_multiplier != 1.0):
            raise ValueError(
                f"The group {selectors.shown(self.selector)} is frozen, so nothing else can be "
                f"said about how it is trained; received {self!r}. Leave the rest out."
            )
        if self.optimizer is not None:
            object.__setattr__(self, "optimizer", self._own_optimizer())

    def get_config(self, variables: Any = ()) -> dict[str, Any]:
        """The arguments; layers and variables become regular expressions."""
        own = self.optimizer
        return {
            "selector": selectors.as_config(self.selector, variables),
            "optimizer": None if own is None else keras.saving.serialize_keras_object(own),
            "lr_multiplier": multiplier_as_config(self.selector, self.lr_multiplier),
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "frozen": self.frozen,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Group":
        """Makes the group, its optimizer and its function."""
        made = keras.saving.deserialize_keras_object
        objects = {key: made(config[key], custom_objects) for key in ("optimizer", "lr_multiplier")}
        return cls(**{**config, **objects})

    def _check(self, name: str, value: Any, zero: bool) -> None:
        if value is None:
            return
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if number and (0 < float(value) < math.inf or (zero and value == 0)):
            return
        raise ValueError(
            f"`{name}` of the group {selectors.shown(self.selector)} must be a number "
            f"{'≥ 0' if zero else 'above 0'}, or None for that of the optimizer, received "
            f"{name}={value!r}."
        )

    def _own_optimizer(self) -> Any:
        try:
            found = keras.optimizers.get(self.optimizer)
        except (ValueError, TypeError) as error:
            raise TypeError(
                f"`optimizer` of the group {selectors.shown(self.selector)} must be an optimizer, "
                f"a wrapper, or the name of an optimizer, received {self.optimizer!r}."
            ) from error
        return found


def optimizer_of(group: Group, default: Any, number: int) -> Any:
    """The optimizer of a group: its own or a copy of the default, as the group says."""
    changes: dict[str, Any] = {}
    if group.weight_decay is not None:
        changes["weight_decay"] = float(group.weight_decay)
    if group.clipnorm is not None:
        changes |= {"clipnorm": float(group.clipnorm), "clipvalue": None, "global_clipnorm": None}
    if group.optimizer is None:
        own = {"name": f"{default.name}_group_{number}", **ABOUT_ALL_VARIABLES}
        optimizer = _copy(default, {**changes, **own})
        follow(optimizer, default)
    else:
        optimizer = _copy(group.optimizer, changes) if changes else group.optimizer
    if group.lr_multiplier == 1.0:
        return optimizer
    return LearningRateMultiplier(optimizer, {EVERY_VARIABLE: group.lr_multiplier})


def follow(copy: Any, original: Any) -> None:
    """Lets the copy of an optimizer have the learning rate of the original, also a later one."""
    copy, original = innermost(copy), innermost(original)
    rate = compat.own_learning_rate(original)
    if isinstance(rate, keras.Variable):
        copy.learning_rate = lambda: original.learning_rate
    else:
        copy.learning_rate = rate  # a schedule, by the copy's own count of updates, or a function


def innermost(optimizer: Any) -> Any:
    """The optimizer inside of all wrappers."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _copy(optimizer: Any, changes: dict[str, Any]) -> Any:
    saved = keras.saving.serialize_keras_object(optimizer)
    config = saved["config"]
    while "inner_optimizer" in config:
        config = config["inner_optimizer"]["config"]
    config.update(changes)
    rate = compat.own_learning_rate(innermost(optimizer))
    if isinstance(rate, keras.Variable):
        copy = keras.saving.deserialize_keras_object(saved)
    else:
        config["learning_rate"] = 0.0
        copy = keras.saving.deserialize_keras_object(saved)
        innermost(copy).learning_rate = rate  # a function might not be found by its name
    compat.copy_decay_exclusions(innermost(optimizer), innermost(copy))
    return copy
