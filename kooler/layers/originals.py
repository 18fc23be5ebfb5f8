"""The layer that holds the originals of a weight: what is trained in the place of the weight.

It is never called. It lies below the layer of the weight, so that Keras finds its variables, trains
them, saves them and loads them as any others; and it is how a reparametrised weight is found in a
model.
"""

from collections.abc import Mapping
from typing import Any

import keras

from kooler.core import compat
from kooler.layers.quantised import not_to_be_quantised


class Originals(keras.layers.Layer):
    """The variables from which a weight is computed; it lies below the layer of the weight.

    Args:
        weight: The weight (`parametrized_weight.py`).
        values: Name → initial value and whether it is trained.
    """

    def __init__(self, weight: Any, values: Mapping[str, Any]) -> None:
        super().__init__(name=f"{weight.variable.name}_parametrization", dtype=weight.dtype)
        self.weight = weight
        for name, (value, trainable) in values.items():
            variable = self.add_weight(
                tuple(value.shape), "zeros", weight.dtype, trainable=trainable, name=name
            )
            variable.assign(value)
        self.built = True  # nobody calls it, and a model with an unbuilt layer is built at a step

    def save_own_variables(self, store: Any) -> None:
        """Originals and state, also the original that lies in the variable of the weight."""
        for name, variable in self.weight.sources().items():
            store[name] = variable

    def load_own_variables(self, store: Any) -> None:
        """The same; a plain file has none, and has already been assigned through the weight."""
        for name, variable in self.weight.sources().items() if store.keys() else ():
            variable.assign(store[name])

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Refuses: `Model.quantize` asks the innermost layers only, and this is one."""
        raise not_to_be_quantised(self.weight.owner)


def parametrized_in(model: Any, *, below: bool = True) -> list[Any]:
    """The reparametrised weights of a model; or of one layer, without those below it."""
    layers = compat.flat_layers(model) if below else compat.sublayers(model)
    return [layer.weight for layer in layers if isinstance(layer, Originals)]
