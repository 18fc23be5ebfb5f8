"""What an optimizer keeps to itself: counters, learning rates, slots, what decays."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras.src.optimizers.base_optimizer import clip_by_global_norm

from kooler.core.compat.layers import untracked
from kooler.core.types import Tensor


def call_counter(optimizer: Any) -> Any:
    """The variable in which an optimizer counts the calls of its own `apply`.

    Relies on: `BaseOptimizer._iterations`; `iterations` is public, but a wrapper forwards it.
    """
    return optimizer._iterations


def forget_learning_rate(optimizer: Any) -> None:
    """Drops the learning-rate variable that every Keras optimizer makes, a wrapper too.

    Relies on: `BaseOptimizer._learning_rate`, `_untrack_variable` and `_variables`.
    """
    optimizer._untrack_variable(optimizer._learning_rate)


def track(optimizer: Any, variable: Any) -> None:
    """Makes a variable that exists one of an optimizer's: it is handed on and saved with it.

    Relies on: `BaseOptimizer._track_variable`, which `add_variable` calls.
    """
    optimizer._track_variable(variable)


def own_learning_rate(optimizer: Any) -> Any:
    """What an optimizer has as its learning rate: a variable, a schedule or a function.

    Relies on: `BaseOptimizer._learning_rate`; the public `learning_rate` is its present value.
    """
    return optimizer._learning_rate


def update_counter(optimizer: Any) -> tuple[Any, int]:
    """The variable that counts the calls of an innermost optimizer, and how many make an update.

    Relies on: `BaseOptimizer._iterations`, which with `gradient_accumulation_steps` counts batches.
    """
    return optimizer._iterations, optimizer.gradient_accumulation_steps or 1


def clipped_by_global_norm(gradients: Sequence[Tensor], norm: float) -> list[Tensor]:
    """The gradients, clipped by one norm, to the bits that a Keras optimizer would give.

    Relies on: `clip_by_global_norm` of `base_optimizer`.
    """
    return list(clip_by_global_norm(gradients, norm))


def copy_decay_exclusions(old: Any, new: Any) -> None:
    """What one optimizer excludes from weight decay the other excludes as well.

    Relies on: where `exclude_from_weight_decay` writes; its configuration has none of it.
    """
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(old, name):
            setattr(new, name, getattr(old, name))


def decays(optimizer: Any, variable: Any) -> bool:
    """Whether an optimizer that decays weights would decay this one, built for it or not.

    Relies on: `BaseOptimizer._use_weight_decay`; since Keras 3.16 that looks up what `build` found
    by `_is_excluded_from_weight_decay`.
    """
    if hasattr(optimizer, "_is_excluded_from_weight_decay"):
        return not optimizer._is_excluded_from_weight_decay(variable)
    return bool(optimizer._use_weight_decay(variable))


@contextlib.contextmanager
def must_be_finite(optimizer: Any, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Meanwhile loss scaling skips the update not only if a gradient is inf or nan: these count.

    Relies on: `LossScaleOptimizer.apply` and `stateless_apply` ask `check_finite(gradients)`.
    """
    scaling = _loss_scaling(optimizer) if tensors else None
    if scaling is None:
        yield
        return
    check = type(scaling).check_finite
    vars(scaling)["check_finite"] = lambda gradients: check(scaling, [*gradients, *tensors])
    try:
        yield
    finally:
        vars(scaling).pop("check_finite", None)  # replicas run in threads: each comes by here


def _loss_scaling(optimizer: Any) -> Any:
    while optimizer is not None and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = getattr(optimizer, "inner_optimizer", None)
    return optimizer


def momenta_of(optimizer: Any) -> list[Any]:
    """What a Keras optimizer remembers of gradients: its variables without the counter, the
    learning rate, the moving averages of the weights, and what is no floating-point number.

    Relies on: `BaseOptimizer._iterations`, `_learning_rate`, `_model_variables_moving_average`.
    """
    averages = getattr(optimizer, "_model_variables_moving_average", [])
    others = [optimizer._iterations, optimizer._learning_rate, *averages]
    return [
        variable
        for variable in optimizer.variables
        if not any(variable is other for other in others)
        and keras.backend.is_float_dtype(variable.dtype)
    ]


def built_for(optimizer: Any) -> list[Any]:
    """The model's variables that a Keras optimizer was built for.

    Relies on: `BaseOptimizer._trainable_variables`.
    """
    return list(optimizer._trainable_variables)


def fast_points(optimizer: Any) -> list[tuple[Any, Any]]:
    """Pairs of a weight and the fast point z that a `ScheduleFreeAdamW` keeps for it.

    Relies on: `ScheduleFreeAdamW._momentums`, in the order of `_trainable_variables`.
    """
    return list(zip(optimizer._trainable_variables, optimizer._momentums, strict=True))


def layout_of(variable: Any) -> Any:
    """How a variable lies on the devices of `keras.distribution`.

    Relies on: `Variable._layout`, which `add_variable_from_reference` reads as well.
    """
    return getattr(variable, "_layout", None)


def move_by_torch(variables: Sequence[Any], goals: Sequence[Tensor], rate: float) -> None:
    """Moves variables a part of the way to their goals, all in one kernel; exact at both ends.

    Relies on: `torch._foreach_lerp_`, as Keras's own optimizers on others of its family.
    """
    import torch

    own = [variable.value.data for variable in variables]
    goals = [goal.detach().to(one.dtype) for goal, one in zip(goals, own, strict=True)]
    torch._foreach_lerp_(own, goals, rate)


def exchange_optimizer(model: Any, old: Any, new: Any) -> None:
    """Puts `new` where `old` stands in a compiled model, also in what `model.save` writes.

    Relies on: `Trainer._compile_config`, whose `config` holds the arguments of `compile`.
    """
    with untracked():
        if model.optimizer is old:
            model.optimizer = new
        else:
            model.optimizer.inner_optimizer = new
    config = model._compile_config.config
    if config["optimizer"] is old:
        config["optimizer"] = new
