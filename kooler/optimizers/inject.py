"""Wrapping the optimizer of a model that is already compiled."""

from typing import Any

import keras

from kooler.core import attach, compat
from kooler.optimizers.wrapper import OptimizerWrapper


def inject(model: Any, wrapper: Any, **arguments: Any) -> Any:
    """Wraps the optimizer of a compiled model, keeping the state it has.

    Inside of a `LossScaleOptimizer`, which must stay outermost.  To undo, compile again.

    Args:
        model: A compiled model.
        wrapper: The class of a wrapper.
        **arguments: Its arguments, without the optimizer.

    Returns:
        The model.

    Example:
        >>> inject(model, Lookahead, sync_period=5)
    """
    if not (isinstance(wrapper, type) and issubclass(wrapper, OptimizerWrapper)):
        raise TypeError(
            f"`inject` needs the class of a wrapper, received {wrapper!r}. "
            "Write inject(model, Lookahead, sync_period=5)."
        )
    if not getattr(model, "compiled", False) or model.optimizer is None:
        raise ValueError(
            f"`inject` needs a compiled model, and {model.name!r} is not. "
            "Call `model.compile(…)` first."
        )
    old = model.optimizer
    if isinstance(old, keras.optimizers.LossScaleOptimizer):
        old = old.inner_optimizer
    new = wrapper.around(old, **arguments)
    new.bind(model)
    if old.built:
        new.build(model.trainable_variables)
    compat.exchange_optimizer(model, old, new)
    attach.attach(model)
    model.train_function = None
    return model
