"""A copy of a model with copies of its weights, in which what was shared is shared.

`keras.models.clone_model` copies layer by layer: a layer that another one holds, as
`EmbeddingDense` holds its embedding, becomes two, and the weights no longer fit.  Here the copy is
made as loading a file makes it, where a layer that occurs twice is written once.
"""

from typing import Any

from kooler.core import compat


def clone(model: Any) -> Any:
    """A model like this one, with the same weights in variables of its own.

    Args:
        model: A built Keras model whose layers can be saved.
    """
    copy = compat.duplicate(model)
    copy.set_weights(model.get_weights())
    return copy
