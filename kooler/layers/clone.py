"""A copy of a model with copies of its weights, in which what was shared is shared.

`keras.models.clone_model` copies layer by layer: a layer that another one holds, as
`EmbeddingDense` holds its embedding, becomes two, and the weights no longer fit.  Here the copy is
made as loading a file makes it, where a layer that occurs twice is written once. Weights that a
parametrization computes are plain weights in the copy.
"""

import tempfile
from pathlib import Path
from typing import Any

from kooler.core import compat
from kooler.layers.originals import parametrized_in


def clone(model: Any) -> Any:
    """A model like this one, with the same weights in variables of its own.

    Args:
        model: A built Keras model whose layers can be saved.
    """
    copy = compat.duplicate(model)
    if parametrized_in(model):  # files alone have what it computes, in place of what it trains
        _copy_by_file(model, copy)
    else:
        copy.set_weights(model.get_weights())
    return copy


def _copy_by_file(source: Any, target: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "weights.weights.h5")
        source.save_weights(file)
        target.load_weights(file)
