"""Moving the steps of padded sequences: reversed, and pushed to the left or to the right.

    reverse_sequence   a b c · ·   length 3   →   c b a · ·
    align_left         · a · b c              →   a b c · ·
    align_right        a b c · ·              →   · · a b c

where `·` is padding.  A recurrence that runs backwards over `a b c · ·` would begin in the padding;
over the reversed sequence it does not.  An absolute position means the same in a batch only when
all sequences begin (or all end) at the same place.

All three gather along axis 1, so gradients go back to where the values came from.
"""

from keras import ops

from kooler.core.types import Tensor
from kooler.layers.masks import as_tensor


def reverse_sequence(x: Tensor, lengths: Tensor) -> Tensor:
    """The first `lengths` steps of axis 1 in opposite order, the rest in place.

    Args:
        x: [batch, steps, …].
        lengths: Integers [batch], at most the number of steps.
    """
    x = as_tensor(x)
    steps = _steps(x)
    lengths = ops.expand_dims(ops.cast(lengths, "int32"), -1)
    return take_steps(x, ops.where(steps < lengths, lengths - 1 - steps, steps))


def align_left(x: Tensor, mask: Tensor) -> Tensor:
    """The valid steps first, in their order, then zeros.

    The mask of the result is `sequence_mask(number of valid steps, steps)`.

    Args:
        x: [batch, steps, …].
        mask: True where a step is valid, [batch, steps] or [batch, steps, 1, …].
    """
    x = as_tensor(x)
    return _aligned(x, steps_mask(x, mask), left=True)


def align_right(x: Tensor, mask: Tensor) -> Tensor:
    """Zeros, then the valid steps, in their order.

    Args:
        x: [batch, steps, …].
        mask: True where a step is valid, [batch, steps] or [batch, steps, 1, …].
    """
    x = as_tensor(x)
    return _aligned(x, steps_mask(x, mask), left=False)


def left_order(valid: Tensor) -> Tensor:
    """For each row, the steps in the order in which the valid ones come first.

    Args:
        valid: Booleans [batch, steps].
    """
    steps = _steps(valid)
    behind = ops.max(steps, axis=1, keepdims=True) + 1
    # The keys are all different, so every backend sorts them alike.
    return ops.argsort(ops.where(valid, steps, steps + behind), axis=1)


def take_steps(x: Tensor, order: Tensor) -> Tensor:
    """The steps of x in another order, a different one for each row.

    Args:
        x: [batch, steps, …].
        order: Integers [batch, steps].
    """
    order = ops.cast(order, "int32")
    extra = tuple(range(2, len(x.shape)))
    return ops.take_along_axis(x, ops.expand_dims(order, extra) if extra else order, axis=1)


def steps_mask(x: Tensor, mask: Tensor) -> Tensor:
    """A mask of steps as booleans [batch, steps].

    Args:
        x: [batch, steps, …].
        mask: [batch, steps], or with more axes of size one.
    """
    mask = as_tensor(mask)
    shape = tuple(mask.shape)
    fits = len(shape) >= 2 and all(size == 1 for size in shape[2:])
    known = zip(shape[:2], tuple(x.shape)[:2], strict=False)
    if not fits or not all(None in (m, n) or m == n for m, n in known):
        raise ValueError(
            f"`mask` must have the shape [batch, steps], received a mask of shape {shape} for "
            f"x of shape {tuple(x.shape)}."
        )
    valid = ops.cast(mask, "bool")
    return ops.squeeze(valid, tuple(range(2, len(shape)))) if len(shape) > 2 else valid


def _steps(x: Tensor) -> Tensor:
    """The number of each step, [batch, steps]; from x itself, whose shape may be open."""
    first = x[(slice(None), slice(None), *(0 for _ in x.shape[2:]))]
    return ops.cumsum(ops.ones_like(first, dtype="int32"), axis=1) - 1


def _aligned(x: Tensor, valid: Tensor, left: bool) -> Tensor:
    order = left_order(valid if left else ops.logical_not(valid))
    moved, still_valid = take_steps(x, order), take_steps(valid, order)
    extra = tuple(range(2, len(x.shape)))
    keep = ops.expand_dims(still_valid, extra) if extra else still_valid
    return ops.where(keep, moved, ops.zeros_like(moved))
