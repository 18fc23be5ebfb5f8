"""Masks: which steps of a sequence are real, and sums, maxima and softmaxes over only those.

With a mask m that is true where there is data,

    masked_mean     Σ x·m / Σ m
    masked_max      max of x where m
    masked_softmax  exp(x)·m / Σ exp(x)·m

computed so that nothing which stands in the padding, a NaN or an infinity included, reaches the
result or its gradient, and so that the sum over nothing is defined: a row without any valid entry
gives zeros.  Half precision is summed in float32: the sum of a thousand float16 numbers need not
be a float16 number, and the −1e10 that is often added to masked scores is none.

A mask is anything that NumPy compares with zero, of one of these shapes:

    [steps]                 the steps along `axis`, the same for all rows
    [batch, steps]          the usual one: the first axis, and `axis`
    as many axes as x       broadcast to x, as NumPy does it: [batch, steps, 1], [batch, 1, Q, K], …

Su Jianlin described masking by hand in 2019: https://kexue.fm/archives/6810.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core.types import Tensor

LOWEST = {
    "float16": -65504.0,
    "bfloat16": -3.3895314e38,
    "float32": -3.4028235e38,
    "float64": -1.7976931348623157e308,
}


def sequence_mask(lengths: Tensor, max_length: int | None = None) -> Tensor:
    """Which steps lie inside of sequences of the given lengths.

    Args:
        lengths: Integers of any shape, usually [batch].
        max_length: The number of steps.  None takes the greatest length, which must then be a
            known number: not inside of a compiled JAX function, and not for a `keras.Input`.

    Returns:
        Booleans of the shape of `lengths` and one more axis: step < length.
    """
    if max_length is None:
        max_length = _greatest(lengths)
    steps = ops.arange(max_length, dtype="int32")
    return ops.less(steps, ops.expand_dims(ops.cast(lengths, "int32"), -1))


def masked_mean(x: Tensor, mask: Tensor | None, axis: int | Sequence[int] = 1) -> Tensor:
    """The mean over the valid entries along `axis`; zero where there are none.

    Args:
        x: The values; integers give float means.
        mask: See the top of this file; None counts every entry.
        axis: One axis or several.
    """
    x = as_tensor(x)
    axes = _positive(axis, len(x.shape))
    valid = mask_like(x, mask, axes)
    wide = _widened(x)
    total = ops.sum(ops.where(valid, wide, ops.zeros_like(wide)), axis=axes)
    ones = ops.where(valid, ops.ones_like(wide), ops.zeros_like(wide))
    count = ops.sum(ones, axis=axes)
    return ops.cast(total / ops.maximum(count, 1.0), _float_type(x))


def masked_max(x: Tensor, mask: Tensor | None, axis: int | Sequence[int] = 1) -> Tensor:
    """The greatest valid entry along `axis`; zero where there is none.

    Args:
        x: The values.
        mask: See the top of this file; None counts every entry.
        axis: One axis or several.
    """
    x = as_tensor(x)
    axes = _positive(axis, len(x.shape))
    valid = ops.logical_and(mask_like(x, mask, axes), ops.ones_like(x, dtype="bool"))
    greatest = ops.max(ops.where(valid, x, lowest_like(x)), axis=axes)
    return ops.where(ops.any(valid, axis=axes), greatest, ops.zeros_like(greatest))


def masked_softmax(x: Tensor, mask: Tensor | None, axis: int = -1) -> Tensor:
    """Softmax over the valid entries along `axis`: the others get zero, and so does an empty row.

    Args:
        x: The scores.
        mask: See the top of this file; None counts every entry.
        axis: The axis along which the result sums to one.
    """
    x = as_tensor(x)
    axes = _positive(axis, len(x.shape))
    valid = mask_like(x, mask, axes)
    wide = _widened(x)
    scores = ops.where(valid, wide, lowest_like(wide))
    probabilities = ops.softmax(scores, axis=axes[0])
    only_valid = ops.where(valid, probabilities, ops.zeros_like(probabilities))
    return ops.cast(only_valid, _float_type(x))


def mask_like(x: Tensor, mask: Tensor | None, axis: int | Sequence[int]) -> Tensor:
    """A mask as booleans with as many axes as x, so that it broadcasts to x.

    Args:
        x: What will be masked.
        mask: See the top of this file.
        axis: Where the steps of a mask with fewer axes lie.
    """
    rank = len(x.shape)
    axes = _positive(axis, rank)
    if mask is None:
        return ops.ones((1,) * rank, dtype="bool")
    valid = ops.cast(as_tensor(mask), "bool")
    given = len(valid.shape)
    if given != rank:
        places = axes if given == len(axes) else (0, *axes)
        if given != len(places) or len(set(places)) != len(places):
            raise ValueError(_text(x, valid, axes))
        missing = [place for place in range(rank) if place not in places]
        valid = ops.expand_dims(valid, missing)
    pairs = zip(valid.shape, x.shape, strict=True)
    if not all(m in (1, None) or n is None or m == n for m, n in pairs):
        raise ValueError(_text(x, valid, axes))
    return valid


def as_tensor(x: Any) -> Tensor:
    """Arrays, lists and numbers as tensors; tensors, symbolic ones too, as they are."""
    is_tensor = isinstance(x, keras.KerasTensor) or ops.is_tensor(x)
    return x if is_tensor else ops.convert_to_tensor(x)


def lowest_like(x: Tensor) -> Tensor:
    """The lowest finite number of the dtype of x."""
    kind = keras.backend.standardize_dtype(x.dtype)
    # TensorFlow takes a number of Python's for a float32, which the lowest float64 does not fit.
    lowest = np.float64(LOWEST[kind]) if kind in LOWEST else _lowest_integer(kind)
    return ops.cast(lowest, kind)


def _lowest_integer(kind: str) -> int:
    if kind == "bool" or kind.startswith("uint"):
        return 0
    return -(2 ** (int(kind.removeprefix("int")) - 1))


def _positive(axis: int | Sequence[int], rank: int) -> tuple[int, ...]:
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not all(-rank <= one < rank for one in axes):
        raise ValueError(f"`axis` must lie in [{-rank}, {rank}), received axis={axis}.")
    return tuple(one % rank for one in axes)


def _float_type(x: Tensor) -> str:
    kind: str = keras.backend.standardize_dtype(x.dtype)
    return kind if keras.backend.is_float_dtype(kind) else keras.config.floatx()


def _widened(x: Tensor) -> Tensor:
    kind = _float_type(x)
    return ops.cast(x, "float32" if kind in ("float16", "bfloat16") else kind)


def _greatest(lengths: Any) -> Any:
    if isinstance(lengths, keras.KerasTensor):
        raise ValueError("`max_length` must be given for symbolic lengths, received None.")
    greatest = ops.max(ops.convert_to_tensor(lengths))
    if keras.backend.backend() == "tensorflow":
        return ops.cast(greatest, "int32")  # a graph may keep it open
    try:
        return int(greatest)
    except Exception as error:
        raise ValueError(
            "`max_length` must be given inside of a compiled function, where shapes are fixed "
            "before lengths are known, received None."
        ) from error


def _text(x: Tensor, mask: Tensor, axes: tuple[int, ...]) -> str:
    return (
        f"`mask` must have the shape [steps], [batch, steps], or one that broadcasts to x with "
        f"as many axes; received a mask of shape {tuple(mask.shape)} for x of shape "
        f"{tuple(x.shape)} and axis {axes if len(axes) > 1 else axes[0]}."
    )
