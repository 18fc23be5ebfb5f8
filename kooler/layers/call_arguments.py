"""What a layer was called with: enough to call it again, symbolically, in another process.

Every tensor is kept as its shape, its dtype, and the shape of the mask that it carried; all else
(None, numbers, texts) as it is.  Nested tuples, lists and dictionaries keep their structure, also
in the file of a saved model, where a tuple would otherwise come back as a list.
"""

import dataclasses
import inspect
from typing import Any

import keras
from keras import tree

from kooler.core import compat


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """What is known of a tensor before it is there."""

    shape: tuple[int | None, ...]
    dtype: str
    mask_shape: tuple[int | None, ...] | None = None


@dataclasses.dataclass(frozen=True)
class CallArguments:
    """The arguments of a call, with a `TensorSpec` in place of each tensor."""

    positional: tuple[Any, ...]
    named: dict[str, Any]

    @classmethod
    def of(cls, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "CallArguments":
        """Those of `layer(*args, **kwargs)`, without `training`."""
        named = {name: value for name, value in kwargs.items() if name != "training"}
        return cls(*tree.map_structure(lambda x: _spec(layer, x), (args, named)))

    @classmethod
    def of_shape(cls, layer: Any, shape: Any) -> "CallArguments":
        """One argument of this shape, possibly nested."""
        spec = tree.map_shape_structure(lambda one: TensorSpec(one, layer.compute_dtype), shape)
        return cls((spec,), {})

    @property
    def first_shape(self) -> Any:
        """The shape of the first argument, in its structure."""
        first = next(iter([*self.positional, *self.named.values()]), None)
        return tree.map_structure(lambda leaf: getattr(leaf, "shape", None), first)

    def trace(self, layer: Any, **constants: Any) -> None:
        """Runs `layer.call` on symbolic tensors, with masks filled in as `__call__` does it."""
        structure = (self.positional, self.named)
        leaves = tree.flatten(structure)
        specs = [leaf for leaf in leaves if isinstance(leaf, TensorSpec)]

        def call(tensors: list[Any], masks: list[Any]) -> Any:
            for tensor, mask in zip(tensors, masks, strict=True):
                if mask is not None:
                    compat.set_mask(tensor, mask)
            left = iter(tensors)
            given = [next(left) if isinstance(leaf, TensorSpec) else leaf for leaf in leaves]
            args, named = tree.pack_sequence_as(structure, given)
            return layer.call(*args, **named, **_masks(layer, args, named), **constants)

        compat.trace(
            call,
            [keras.KerasTensor(spec.shape, spec.dtype) for spec in specs],
            [spec.mask_shape and keras.KerasTensor(spec.mask_shape, "bool") for spec in specs],
        )

    def to_config(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"positional": _encoded(self.positional), "named": _encoded(self.named)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CallArguments":
        """The arguments that `to_config` wrote."""
        return cls(_decoded(config["positional"]), _decoded(config["named"]))


def _spec(layer: Any, x: Any) -> Any:
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return x
    kind = keras.backend.standardize_dtype(x.dtype)
    if keras.backend.is_float_dtype(kind) and layer.autocast:
        kind = layer.compute_dtype
    mask = compat.mask_of(x)
    return TensorSpec(tuple(x.shape), kind, None if mask is None else tuple(mask.shape))


def _masks(layer: Any, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """By Keras's rule: `mask` for the only tensor, or `x_mask` for each argument `x`."""
    signature = inspect.signature(layer.call)
    given = signature.bind_partial(*args, **named).arguments
    tensors = [name for name, value in given.items() if _holds_tensors(value)]
    names = {name: f"{name}_mask" if len(tensors) > 1 else "mask" for name in tensors}
    return {
        mask: tree.map_structure(compat.mask_of, given[name])
        for name, mask in names.items()
        if mask in signature.parameters and mask not in given
    }


def _holds_tensors(value: Any) -> bool:
    leaves = tree.flatten(value)
    return bool(leaves) and all(hasattr(leaf, "dtype") for leaf in leaves)


def _encoded(value: Any) -> Any:
    if isinstance(value, TensorSpec):
        return {"kind": "tensor", **dataclasses.asdict(value)}
    if isinstance(value, dict):
        return {"kind": "dict", "items": {name: _encoded(item) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {"kind": kind, "items": [_encoded(item) for item in value]}
    return {"kind": "constant", "value": keras.saving.serialize_keras_object(value)}


def _decoded(config: dict[str, Any]) -> Any:
    kind = config["kind"]
    if kind == "tensor":
        mask = config["mask_shape"]
        shape = tuple(config["shape"])
        return TensorSpec(shape, config["dtype"], None if mask is None else tuple(mask))
    if kind == "dict":
        return {name: _decoded(item) for name, item in config["items"].items()}
    if kind == "constant":
        return keras.saving.deserialize_keras_object(config["value"])
    items = [_decoded(item) for item in config["items"]]
    return tuple(items) if kind == "tuple" else items
