"""The learning rate of an update: a linear warm-up, then one of three ways on.

With t the number of the update (from 1), w the warm-up, N the last update and η the highest rate:

    t ≤ w           η · t / w
    inverse_sqrt    η · √(w / t)
    cosine          η · (1 + cos(π (t − w) / (N − w))) / 2
    constant        η

Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762 (inverse_sqrt);
Loshchilov, Hutter, "SGDR", 2017, https://arxiv.org/abs/1608.03983 (cosine).
"""

import math
from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor


@keras.saving.register_keras_serializable("kooler")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that grows, then falls.

    Args:
        learning_rate: η, the highest rate.
        warmup: w, the updates until it is reached; 0 starts with it.
        schedule: "inverse_sqrt", "cosine" or "constant".
        updates: N, where the cosine ends.

    Example:
        >>> model.compile(keras.optimizers.Adam(WarmupSchedule(1e-3, 1000)))
    """

    def __init__(
        self,
        learning_rate: float,
        warmup: int,
        schedule: str = "inverse_sqrt",
        updates: int | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.schedule = schedule
        self.updates = updates

    def __call__(self, step: Tensor) -> Tensor:
        """The rate of the update after `step` updates."""
        update = ops.cast(step, "float32") + 1.0
        growing = update / max(self.warmup, 1)
        return self.learning_rate * ops.where(
            update < self.warmup, growing, self._falling(ops.maximum(update, self.warmup))
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal schedule."""
        return dict(vars(self))

    def _falling(self, update: Tensor) -> Tensor:
        if self.schedule == "inverse_sqrt":
            return ops.sqrt(max(self.warmup, 1) / update)
        if self.schedule == "cosine":
            span = max((self.updates or 0) - self.warmup, 1)
            share = ops.minimum((update - self.warmup) / span, 1.0)
            return (1.0 + ops.cos(math.pi * share)) / 2.0
        return ops.ones_like(update)
