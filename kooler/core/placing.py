"""A part of a tensor written anew, from an index that is a tensor itself."""

import keras
from keras import ops

from kooler.core.types import Tensor


def placed(tensor: Tensor, part: Tensor, start: Tensor, axis: int) -> Tensor:
    """`tensor` with `part` from number `start` of an axis on; their other axes are as long.

    Args:
        tensor: Any shape.
        part: The same shape but for the axis; becomes the tensor's type.
        start: int32 scalar; the part must fit behind it.
        axis: Which axis, from 0 on.
    """
    part = ops.cast(part, tensor.dtype)
    if keras.backend.backend() == "torch":
        return _placed_by_index(tensor, part, start, axis)
    starts = [0] * len(tensor.shape)
    return ops.slice_update(tensor, [*starts[:axis], start, *starts[axis + 1 :]], part)


def _placed_by_index(tensor: Tensor, part: Tensor, start: Tensor, axis: int) -> Tensor:
    """Keras's `slice_update` on PyTorch reads the value of `start`, which waits for a GPU, and
    cannot be recorded (`replay.py`)."""
    import torch

    numbers = torch.arange(part.shape[axis], device=tensor.device) + start
    return torch.index_copy(tensor, axis, numbers, part)
