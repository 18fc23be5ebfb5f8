"""A mean that takes in one number after the other, without a second copy of itself.

    mean ← mean + share · (new − mean),        share = n / N

where `new` weighs n of the N that the mean then stands for.  With share = 1 and a mean of zero it
becomes `new`, bit for bit, and nothing overflows where a sum could.

JAX and TensorFlow compile the line above into one pass over the memory. PyTorch runs it operator by
operator: written like this it makes three new tensors, and most of the time goes into getting
memory for them. There it is computed in pieces that stay in the cache, each in place, in the same
order of operations and so to the same bits.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.conditional import assign
from kooler.core.types import Tensor

PIECE = 2**17
"""Numbers that each thread of PyTorch works on at once: half a megabyte in float32."""


def take_in(mean: Any, new: Tensor | float, share: Tensor) -> None:
    """Moves a mean by the share of what is new.

    Args:
        mean: Variable, as yet the mean of the others.
        new: Of the shape of `mean`, or 0.0.
        share: Scalar in 0 … 1.
    """
    new, share = ops.cast(new, mean.dtype), ops.cast(share, mean.dtype)
    if keras.backend.backend() == "torch":
        _take_in_by_torch(mean.value.data, new, share)
    else:
        assign(mean, mean + share * (new - mean))


def _take_in_by_torch(mean: Any, new: Any, share: Any) -> None:
    import torch

    size = PIECE * torch.get_num_threads() if mean.device.type == "cpu" else max(mean.numel(), 1)
    pieces = mean.view(-1).split(size)
    with torch.no_grad():
        change = torch.empty_like(pieces[0])
        news = new.expand(mean.shape).reshape(-1).split(size)
        for own, other in zip(pieces, news, strict=True):
            step = change[: len(own)]
            torch.sub(other, own, out=step)
            own.add_(step.mul_(share))
