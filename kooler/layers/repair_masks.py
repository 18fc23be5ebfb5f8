"""Carrying masks through the operators that drop them.

Keras carries a mask with a tensor from layer to layer, but `x * 2`, `x + y` and `ops.relu(x)` in a
functional model return a new tensor without it, and say nothing: what comes after averages over
padding.  `repair_masks` makes such operators carry it, where it is certain what the mask is:

    elementwise, also of several tensors      the AND of the masks
    along the last axis (softmax, norms)      the mask
    concatenation, not along the steps        the AND of the masks
    a slice of rows and steps                 the same slice of the mask
    layers: EinsumDense that keeps the steps, RMSNormalization, and recurrences with
    `return_sequences` where the Keras version stops masks

All others (reshape, transpose, flip, convolution, …) stay as they are; `check_masks` finds them.
"""

import functools
import weakref
from typing import Any

import keras
from keras import ops, tree

from kooler.core import compat
from kooler.core.hooks import hook, reset_functions

NAMES = """
    Absolute Add Cast Cbrt Ceil Celu Clip ConvertToTensor Copy Cos Cosh Divide DivideNoNan Elu Erf
    Exp Exp2 Expm1 Fabs Floor FloorDivide Fmax Fmin Fmod Gelu HardShrink HardSigmoid HardSilu
    HardTanh Identity LeakyRelu Log Log10 Log1p Log2 LogSigmoid Logaddexp Maximum Minimum Mod
    Multiply NanToNum Negative Power Reciprocal Relu Relu6 Round Rsqrt SaturateCast Selu Sigmoid
    Sign Silu Sin Sinh SoftShrink Softplus Softsign SparsePlus SparseSigmoid Sqrt Square Squareplus
    StopGradient Subtract Tan Tanh TanhShrink Threshold TrueDivide Trunc Where
"""
ELEMENTWISE = frozenset(NAMES.split())
LAST_AXIS = frozenset({"LayerNorm", "LogSoftmax", "Normalize", "RMSNorm", "Softmax", "Sparsemax"})

_repaired: "weakref.WeakSet[Any]" = weakref.WeakSet()


def repair_masks(model: Any) -> list[str]:
    """Lets the operators of a functional model, and of the models in it, carry masks.

    The weights, the config and the saved file of the model stay as they are, so this is to be
    repeated after loading.

    Args:
        model: A Keras model.  Operators inside of a layer's own `call` are out of reach.

    Returns:
        The names of the operators and layers that now carry a mask, and did not before.
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a Keras model, received {model!r}.")
    names = []
    for operation in operations_of(model):
        if operation in _repaired or not _can_carry(operation):
            continue
        if isinstance(operation, keras.layers.Layer):
            operation.supports_masking = True
        else:
            hook(operation, functools.partial(_carry, type(operation).__name__ == "GetItem"))
        _repaired.add(operation)
        names.append(operation.name)
    reset_functions(model)
    return names


def operations_of(model: Any) -> list[Any]:
    """A model, its layers, theirs, and the operators between them; each once."""
    found: dict[int, Any] = {}
    for layer in compat.flat_layers(model):
        between = layer.operations if isinstance(layer, keras.Function) else []
        for operation in (layer, *between):
            found.setdefault(id(operation), operation)
    return list(found.values())


def _can_carry(operation: Any) -> bool:
    if isinstance(operation, keras.layers.Layer):
        return not operation.supports_masking and _keeps_steps(operation)
    name = type(operation).__name__
    if name == "Concatenate":
        return operation.axis not in (0, 1)
    if name in LAST_AXIS:
        return getattr(operation, "axis", -1) == -1
    return name in ELEMENTWISE or name == "GetItem"


def _keeps_steps(layer: Any) -> bool:
    if isinstance(layer, keras.layers.EinsumDense):
        inputs, outputs = layer.equation.partition(",")[0], layer.equation.partition("->")[2]
        return len(inputs) > 2 and inputs[:2] == outputs[:2]
    if isinstance(layer, keras.layers.RMSNormalization):
        return layer.axis in (-1, [-1])
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        return bool(layer.return_sequences)
    return isinstance(layer, keras.layers.TimeDistributed)


def _carry(slices: bool, call: Any, *args: Any, **kwargs: Any) -> Any:
    """A hook: what the operator returns carries the mask of what it got."""
    outputs = call(*args, **kwargs)
    carried = [compat.mask_of(leaf) for leaf in tree.flatten((args, kwargs))]
    masks = [mask for mask in carried if mask is not None]
    if not masks or compat.mask_of(outputs) is not None:
        return outputs
    mask = functools.reduce(ops.logical_and, masks)
    if slices:
        mask = _sliced(mask, kwargs["key"] if "key" in kwargs else args[1])
    if mask is not None and len(mask.shape) <= len(outputs.shape):
        compat.set_mask(outputs, mask)
    return outputs


def _sliced(mask: Any, key: Any) -> Any:
    """The slice of a mask of steps, or None: another key may leave no steps."""
    keys = tuple(key) if isinstance(key, list | tuple) else (key,)
    if not all(isinstance(one, slice) for one in keys[:2]):
        return None
    return mask[keys[:2]]
