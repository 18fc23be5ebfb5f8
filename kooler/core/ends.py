"""The end of an epoch, before validation, and the end of `fit`: told by one more callback.

`fit_telling(model, tell)` is the model's `fit` with a callback in front of all others. An epoch is
over when validation begins (`on_test_begin`) or, without validation, with `on_epoch_end`; in both
places Keras has put all state back into the variables, on JAX too, and nobody has saved anything
yet.

The model outlives an exception, too: on JAX, Keras takes the values out of the variables for the
time of `fit`, and where the first step fails (while it is traced) never puts them back.  This `fit`
does, and `evaluate` and `predict` do; and what a callback lent to the model (`lending.py`) is given
back.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from kooler.core import lending

Tell = Callable[[Any, str], None]


def fit_telling(model: Any, tell: Tell) -> Callable[..., Any]:
    """The `fit` of a model's class, with one more callback in front.

    Args:
        model: A Keras model.
        tell: Called as `tell(model, "epoch")` and `tell(model, "fit")`.

    Raises:
        ValueError: The class has a `fit` of its own that takes no callbacks.
    """
    fit = type(model).fit
    signature = inspect.signature(fit)
    others = [one.name for one in signature.parameters.values() if one.kind is one.VAR_KEYWORD]
    if "callbacks" not in signature.parameters and not others:
        raise ValueError(
            f"`fit` of the model class {type(model).__name__} takes no `callbacks`, so the end of "
            "an epoch cannot be told to its optimizer. Add the argument and hand it on."
        )

    @functools.wraps(fit)
    def fit_and_tell(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(model, *args, **kwargs)
        arguments = bound.arguments
        if "callbacks" not in signature.parameters:
            arguments = arguments.setdefault(others[0], {})
        arguments["callbacks"] = _with_ours_first(arguments.get("callbacks"), tell)
        with lending.returning(model):
            return fit(*bound.args, **bound.kwargs)

    return fit_and_tell


def returning_method(model: Any, name: str) -> Callable[..., Any]:
    """`evaluate` or `predict` of a model's class, after which the model is as it was before."""
    method = getattr(type(model), name)

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with lending.returning(model):
            return method(model, *args, **kwargs)

    return run


def _with_ours_first(callbacks: Any, tell: Tell) -> Any:
    if isinstance(callbacks, keras.callbacks.CallbackList):
        ours = Ends(tell)
        ours.set_model(callbacks.model)
        callbacks.callbacks = [ours, *(c for c in callbacks.callbacks if not isinstance(c, Ends))]
        return callbacks
    return [Ends(tell), *(keras.tree.flatten(callbacks) if callbacks else ())]


class Ends(keras.callbacks.Callback):
    """Tells the wrappers when an epoch ends, before validation, and when `fit` ends."""

    async_safe = True  # nothing happens after a batch, so Keras need not wait for us

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self._tell = tell
        self._in_epoch = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """The batches of an epoch follow."""
        self._in_epoch = True

    def on_test_begin(self, logs: Any = None) -> None:
        """Validation follows."""
        self._end_epoch()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The epoch is over; without validation this comes first."""
        self._end_epoch()

    def on_train_end(self, logs: Any = None) -> None:
        """`fit` is over."""
        self._tell(self.model, "fit")

    def _end_epoch(self) -> None:
        if self._in_epoch:
            self._in_epoch = False
            self._tell(self.model, "epoch")
