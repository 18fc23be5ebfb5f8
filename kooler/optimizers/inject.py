"""Wrapping the optimizer of a model that is already compiled."""

from collections.abc import Iterator
from contextlib import contextmanager
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
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`inject` needs a Keras model, received {model!r} of type {type(model).__name__}."
        )
    if not model.compiled or model.optimizer is None:
        raise ValueError(
            f"`inject` needs a compiled model, and {model.name!r} is not. "
            "Call `model.compile(…)` first."
        )
    old = model.optimizer
    if isinstance(old, keras.optimizers.LossScaleOptimizer):
        old = old.inner_optimizer
    with _given_back_on_failure(old):
        new = wrapper.around(old, **arguments)
        new.bind(model)
        if old.built:
            new.build(model.trainable_variables)
    compat.exchange_optimizer(model, old, new)
    attach.attach(model)
    model.train_function = None
    return model


@contextmanager
def _given_back_on_failure(optimizer: Any) -> Iterator[None]:
    """What wrappers take over from the optimizer inside of them comes back if one is refused."""
    chain = [optimizer]
    while hasattr(chain[-1], "inner_optimizer"):
        chain.append(chain[-1].inner_optimizer)
    before = [(one, one.loss_scale_factor, one.global_clipnorm) for one in chain]
    try:
        yield
    except Exception:
        for one, loss_scale, norm in before:
            one.loss_scale_factor, one.global_clipnorm = loss_scale, norm
        raise
