"""Weights of examples, which a model without targets cannot take.

Keras hands weights on beside targets only: without targets `fit` drops `sample_weight` without a
word, and fails on `class_weight` with an error about an index.
"""

from typing import Any


def refuse_weights(model: Any, given: dict[str, Any]) -> None:
    """Raises ValueError if the arguments of `fit` or `evaluate` hold weights of examples."""
    for argument in ("sample_weight", "class_weight"):
        if given.get(argument) is not None:
            raise ValueError(
                f"A {type(model).__name__} has no targets, so Keras would drop `{argument}`. "
                "Make the weights an input of a LossModel and multiply its losses by them: "
                "`fit((x, y, weights))`."
            )
