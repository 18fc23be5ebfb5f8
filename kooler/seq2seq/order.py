"""Generation order: in which sequence the tokens of a target are written.

A target y₁ … yₙ is laid out in ONE stream z₀ … zₙ that ends with EOS, and the decoder is an
ordinary decoder over that stream.  Three orders are cases of it:

    l2r   z = y₁ y₂ … yₙ EOS          one token a step, from the left end
    r2l   z = yₙ … y₂ y₁ EOS          one token a step, from the right end
    mid   z = y₁ yₙ y₂ yₙ₋₁ … EOS     two tokens a step, from both ends to the middle

With c tokens a step, slot i of the stream belongs to time i // c.  It reads the token of slot i − c
(one start tag per token of a step before that) and predicts zᵢ.  A slot attends to every slot whose
time is not later than its own,

    visible(query, key)  =  time(key) ≤ time(query),

so it knows all earlier steps and nothing of its own: no output depends on a token that it must
predict, at any depth, and ∏ p(zᵢ | earlier steps) sums to one over all targets.  In `mid` an even
target ends with EOS in the left slot (the right slot of that step is not counted), an odd one with
EOS in the right slot.

Positions are signed: `time` counts steps, `side` tells the end (0 left, 1 right) that they count
from.

The interleaved stream is that of Zhang, Titov, Sennrich, "Fast Interleaved Bidirectional Sequence
Generation", 2020, https://arxiv.org/abs/2010.14481; one model for two directions told by a tag is
that of Tan et al., "Efficient Bidirectional Neural Machine Translation", 2019,
https://arxiv.org/abs/1908.09329.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from kooler.core.types import Tensor
from kooler.seq2seq.reserved_ids import EOS, L2R, MID_LEFT, MID_RIGHT, PAD, R2L

ORDERS = ("l2r", "r2l", "mid")
START_TAGS = {"l2r": (L2R,), "r2l": (R2L,), "mid": (MID_LEFT, MID_RIGHT)}
SIDES = {"l2r": (0,), "r2l": (1,), "mid": (0, 1)}


class Layout(NamedTuple):
    """The streams of a batch, a row per target and order; each field is [batch, rows, slots]."""

    inputs: Tensor  # int32: what the slot reads
    targets: Tensor  # int32: what the slot must predict
    time: Tensor  # int32: the step that the slot belongs to
    side: Tensor  # int32: 0 counted from the left end, 1 from the right
    weight: Tensor  # float32: 1 where the slot's prediction counts


def tokens_per_step(order: str) -> int:
    """1 for `l2r` and `r2l`, 2 for `mid`."""
    return len(START_TAGS[order])


def check_order(order: str, known: tuple[str, ...] = ORDERS) -> None:
    """Raises ValueError unless `order` is one of `known`."""
    if order not in known:
        raise ValueError(f"`order` must be one of {', '.join(known)}, received order={order!r}.")


def layout(target: Tensor, order: Tensor) -> Layout:
    """Lays out targets in their orders.

    Args:
        target: int32 [batch, rows or 1, length] token ids without EOS, padded on the right with 0.
        order: int32 [batch or 1, rows], the index in `ORDERS` of each row's order.

    Returns:
        Streams of `length` + 2 slots, rounded up to an even number.
    """
    length = ops.shape(target)[-1]
    slots = length + 2 + length % 2
    slot = ops.arange(slots, dtype="int32")  # [slots]
    count = ops.sum(ops.cast(ops.not_equal(target, PAD), "int32"), axis=-1)[..., None]
    order = order[..., None]  # [batch, rows, 1]
    per_step = ops.where(ops.equal(order, ORDERS.index("mid")), 2, 1)
    stream = _stream(target, order, count, slot)  # [batch, rows, slots]
    weight = ops.cast(ops.less_equal(slot, count), "float32")
    return Layout(
        inputs=_shifted(stream, order, per_step, slot),
        targets=stream,
        time=ops.broadcast_to(slot // per_step, ops.shape(stream)),
        side=ops.broadcast_to(_side(order, slot), ops.shape(stream)),
        weight=ops.broadcast_to(weight, ops.shape(stream)),
    )


def visible(query_time: Tensor, key_time: Tensor) -> Tensor:
    """The decoder's mask: bool [..., query, key], true where the key's time is not later."""
    return ops.less_equal(key_time[..., None, :], query_time[..., :, None])


def sentence_of(stream: np.ndarray, order: str) -> np.ndarray:
    """Undoes the layout: a stream's tokens, without EOS, in the order in which they are read."""
    if order == "l2r":
        return stream
    if order == "r2l":
        return stream[::-1]
    return np.concatenate([stream[::2], stream[1::2][::-1]])


def halves(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens of streams whose answer a true other stream does not show yet, and does.

    Args:
        weight: float [B, R, L]: 1 for the n tokens of a target and its EOS.

    Returns:
        1 for the first ⌈n/2⌉ tokens, and 1 for the ⌊n/2⌋ others; EOS is in neither.
    """
    slot = ops.arange(weight.shape[-1], dtype="float32")
    count = ops.sum(weight, axis=-1, keepdims=True) - 1.0
    early, token = 2.0 * slot < count, slot < count
    shown = ops.logical_and(token, ops.logical_not(early))
    return ops.cast(ops.logical_and(token, early), "float32"), ops.cast(shown, "float32")


def _stream(target: Tensor, order: Tensor, count: Tensor, slot: Tensor) -> Tensor:
    """z: the target's tokens in the given order, then EOS, then padding."""
    mid = ops.equal(order, ORDERS.index("mid"))
    step = ops.where(mid, slot // 2, slot)
    from_right = ops.equal(_side(order, slot), 1)
    index = ops.where(from_right, count - 1 - step, step)
    index = ops.clip(index, 0, ops.shape(target)[-1] - 1)
    rows = ops.broadcast_to(target, (*ops.shape(index)[:-1], ops.shape(target)[-1]))
    token = ops.take_along_axis(rows, index, axis=-1)
    return ops.where(slot < count, token, ops.where(ops.equal(slot, count), EOS, PAD))


def _side(order: Tensor, slot: Tensor) -> Tensor:
    mid = ops.equal(order, ORDERS.index("mid"))
    right = ops.cast(ops.equal(order, ORDERS.index("r2l")), "int32")
    return ops.where(mid, slot % 2, right)


def _shifted(stream: Tensor, order: Tensor, per_step: Tensor, slot: Tensor) -> Tensor:
    """The stream delayed by one step, with the start tags in front."""
    earlier = ops.take_along_axis(stream, _clipped(slot - per_step, stream), axis=-1)
    single = ops.where(ops.equal(order, ORDERS.index("r2l")), R2L, L2R)
    double = ops.where(ops.equal(slot, 0), MID_LEFT, MID_RIGHT)
    tag = ops.where(ops.equal(per_step, 2), double, single)
    return ops.where(slot < per_step, tag, earlier)


def _clipped(index: Tensor, stream: Tensor) -> Tensor:
    return ops.broadcast_to(ops.maximum(index, 0), ops.shape(stream))
