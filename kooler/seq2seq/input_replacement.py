"""Some of what a decoder reads in training is wrong, as it will be when it reads what it wrote.

In training a decoder reads true tokens, later its own, and one wrong token may lead to the next
(exposure bias).  So in half of the targets, drawn anew each time, a share r of the tokens that the
decoder reads is replaced by tokens drawn from that same target,

    input of slot i  ←  y_u,   u uniform in 1 … n,   with probability r,

since what a decoder writes wrongly is mostly what belongs elsewhere in its sentence.  What it must
predict stays true.  The tags that start a stream stay, and so does everything outside of training.

Su Jianlin's remedy of half the targets and r = 0.3: https://kexue.fm/archives/7259
"""

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.seq2seq.order import Layout
from kooler.seq2seq.reserved_ids import RESERVED

TARGETS = 0.5  # the share of targets that are touched


def replaced(streams: Layout, share: float, seed: keras.random.SeedGenerator) -> Layout:
    """Streams some of whose inputs are replaced.

    Args:
        streams: Of targets, [B, R, L].
        share: r.
        seed: Where the random numbers come from; it moves on.
    """
    shape = ops.shape(streams.inputs)
    touched = keras.random.uniform((*shape[:2], 1), seed=seed) < TARGETS
    chosen = keras.random.uniform(shape, seed=seed) < share
    is_token = streams.inputs >= RESERVED
    drawn = _drawn(streams, keras.random.uniform(shape, seed=seed))
    inputs = ops.where(touched & chosen & is_token, drawn, streams.inputs)
    return streams._replace(inputs=inputs)


def _drawn(streams: Layout, uniform: Tensor) -> Tensor:
    """For each slot one of its target's n tokens; in a target without any, whatever is there."""
    count = ops.sum(streams.weight, axis=-1, keepdims=True) - 1.0
    place = ops.cast(ops.floor(uniform * count), "int32")
    place = ops.maximum(ops.minimum(place, ops.cast(count, "int32") - 1), 0)
    return ops.take_along_axis(streams.targets, place, axis=-1)
