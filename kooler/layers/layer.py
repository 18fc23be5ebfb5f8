"""A layer made of layers: write `call`, and nothing else.

    class Block(kooler.layers.Layer):
        def call(self, x, mask=None):
            hidden = self.sub("wide", lambda: keras.layers.Dense(64, "relu"))(x)
            return x + self.sub("narrow", lambda: keras.layers.Dense(x.shape[-1]))(hidden)

`build` is one symbolic trace of `call` for each value of `training`: the shapes and dtypes of the
first inputs run through it, so every sub-layer, made in `__init__` or in `call`, makes its weights
then.  What the trace was given, nested structures, several arguments and masks included, is
written into the file of a saved model, and loading repeats it.  So the weights exist before they
are loaded whatever the structure is; and where they would not (a layer never built, a `call` that
makes other weights than when it was saved) loading is an error, where Keras leaves random numbers.

As a first base it makes a subclassed model such a layer too: `class Net(Layer, keras.Model)`.

Su Jianlin's `OurLayer.reuse` (https://kexue.fm/archives/6810) is the same idea for Keras 2.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from kooler.layers.call_arguments import CallArguments


class Layer(keras.layers.Layer):
    """A `keras.layers.Layer` that is built by tracing its `call`.

    Sub-layers may be attributes set in `__init__`, or made where they are used, with `sub`.

    Args:
        **arguments: As for `keras.layers.Layer`: `name`, `dtype`, `trainable`, ….
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._call_arguments: CallArguments | None = None

    def sub(self, name: str, make: Callable[[], Any]) -> Any:
        """A sub-layer of this name: made the first time, the same one ever after.

        Args:
            name: A Python name.  The sub-layer is the attribute of this name, and is called so in
                paths of variables and in saved files.
            make: Makes the layer.  One that is built already is shared, and keeps its own name.
        """
        known = self.__dict__.get("_sub_layers", ())
        if name in known:
            return getattr(self, name)
        self._check_new(name)
        layer = make()
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                f"`make` of the sub-layer {name!r} of layer {self.name!r} must return a Keras "
                f"layer, it returned {layer!r}. Write `lambda: keras.layers.Dense(4)`, say."
            )
        if not layer.built:
            layer.name = name
        setattr(self, name, layer)
        self._sub_layers = (*known, name)
        return layer

    def build(self, input_shape: Any = None) -> None:
        """Makes all weights, by tracing `call`.

        Override it to add weights of the layer's own, and call `super().build(input_shape)` last.

        Args:
            input_shape: The shape of the first argument, possibly nested.  Whoever calls the layer
                does not need it.
        """
        if self._call_arguments is None:
            self._call_arguments = CallArguments.of_shape(self, input_shape)
        for constants in self._modes():
            self._call_arguments.trace(self, **constants)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Builds the layer if it is not built, and calls it."""
        if not self.built:
            self._call_arguments = arguments = CallArguments.of(self, args, kwargs)
            if type(self).build is Layer.build:  # otherwise Keras finds out what it takes
                self.build(arguments.first_shape)
        return super().__call__(*args, **kwargs)

    def get_build_config(self) -> dict[str, Any] | None:
        """What the layer was built with, and the shapes of the weights that came of it."""
        if self._call_arguments is None:
            return super().get_build_config()
        return {
            "arguments": self._call_arguments.to_config(),
            "weights": [list(weight.shape) for weight in self.weights],
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Repeats the trace; other weights than were saved are an error."""
        if "arguments" not in config:
            super().build_from_config(config)
            return
        self._call_arguments = arguments = CallArguments.from_config(config["arguments"])
        self.build(arguments.first_shape)
        made = [list(weight.shape) for weight in self.weights]
        saved = [list(shape) for shape in config["weights"]]
        if made != saved:
            raise ValueError(
                f"Layer {self.name!r} was saved with weights of the shapes {saved}, but its `call` "
                f"makes {made} for the same inputs. Let `get_config` return every argument of "
                "`__init__` on which the structure depends."
            )

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights that belong to no sub-layer; a layer without weights is an error."""
        if not self.built:
            raise ValueError(
                f"Layer {self.name!r} was never built, so there is nothing to load its weights "
                "into. Call it (or the model that contains it) once before `load_weights`."
            )
        super().load_own_variables(store)

    def _check_new(self, name: str) -> None:
        if not str(name).isidentifier():
            raise ValueError(f"`name` of a sub-layer must be a Python name, received {name!r}.")
        if hasattr(self, name):
            raise ValueError(
                f"`name` of a sub-layer must not be an attribute that layer {self.name!r} has "
                f"already, received {name!r}."
            )
        if self.built:
            raise ValueError(
                f"Layer {self.name!r} is built, and now its `call` asks for a new sub-layer "
                f"{name!r}. All of them must be reached when `call` is traced: make it before the "
                "branch in which it is used, or in `__init__`."
            )

    def _modes(self) -> list[dict[str, bool]]:
        if "training" not in inspect.signature(self.call).parameters:
            return [{}]
        return [{"training": False}, {"training": True}]
