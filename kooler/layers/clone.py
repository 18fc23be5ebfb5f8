"""A copy of a model with copies of its weights, in which what was shared is shared.

`keras.models.clone_model` copies layer by layer: a layer that another one holds, as
`EmbeddingDense` holds its embedding, becomes two, and the weights no longer fit.  Here the copy is
made as loading a file makes it, where a layer that occurs twice is written once. Weights that a
parametrization computes are plain weights in the copy.
"""

import contextlib
from typing import Any

from keras import ops

from kooler.core import compat
from kooler.layers.originals import parametrized_in


def clone(model: Any) -> Any:
    """A model like this one, with the same weights in variables of its own.

    Args:
        model: A built Keras model whose layers can be saved.
    """
    copy = compat.duplicate(model)
    copy.set_weights(_plain_weights(model))
    return copy


def _plain_weights(model: Any) -> list[Any]:
    """The weights as `get_weights` has them, computed ones in the place of their originals."""
    computed = sorted(parametrized_in(model), key=lambda one: one.index)
    originals = {id(variable) for one in computed for variable in one.sources().values()}
    with contextlib.ExitStack() as stack:
        for one in computed:
            stack.enter_context(one.listed())
        kept = [variable for variable in model.weights if id(variable) not in originals]
        return [ops.convert_to_numpy(variable) for variable in kept]
