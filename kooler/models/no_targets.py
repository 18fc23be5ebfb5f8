"""Weights of examples, which a model without targets cannot take.

Keras hands weights on beside targets only: without targets `fit` drops `sample_weight` without a
word, and fails on `class_weight` with an error about an index.

A decorator, and no class to inherit from: Keras exchanges the bases of a functional model's class,
and so those of every class between it and `keras.Model`, which others share.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

WEIGHTS = ("sample_weight", "class_weight")


def without_targets(model_class: Any) -> Any:
    """Lets `fit` and `evaluate` of a class of models refuse weights of examples."""
    for name in ("fit", "evaluate"):
        setattr(model_class, name, _refusing(getattr(model_class, name)))
    return model_class


def _refusing(method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @functools.wraps(method)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind_partial(self, *args).arguments | kwargs
        for argument in WEIGHTS:
            if given.get(argument) is not None:
                raise ValueError(
                    f"A {type(self).__name__} has no targets, so Keras would drop `{argument}`. "
                    "Make the weights an input of a LossModel and multiply its losses by them: "
                    "`fit((x, y, weights))`."
                )
        return method(self, *args, **kwargs)

    return checked
