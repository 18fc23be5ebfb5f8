"""Lookahead: after every k updates, go only part of the way, and start again from there.

Slow weights φ stand beside the weights θ that the inner optimizer moves (the fast ones).  φ starts
at the weights of the first update, and after every k updates

    φ ← φ + α·(θ − φ)
    θ ← φ

With α = 1 nothing changes, bit for bit: the step is computed from the end that is nearer, so it is
exact at both ends.  What the inner optimizer remembers (momentum, second moments, any other slot)
belongs to the weights that it had moved to.  `on_sync` says what becomes of it:

    keep       nothing
    reset      it begins anew; the count of updates goes on, and with it schedules and Adam's bias
               correction: Adam's first step after a reset is (1−β₁)/√(1−β₂) times as long
    pullback   it goes the same part of the way as the weights: m ← m_slow + α·(m − m_slow)

Zhang, Lucas, Hinton, Ba 2019: Lookahead Optimizer: k steps forward, 1 step back,
https://arxiv.org/abs/1907.08610.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kooler.core.conditional import run_if
from kooler.core.types import Tensor
from kooler.optimizers.incoming import trained
from kooler.optimizers.memory import beginnings_of, memory_of
from kooler.optimizers.wrapper import OptimizerWrapper

POLICIES = ("keep", "reset", "pullback")


@keras.saving.register_keras_serializable("kooler")
class Lookahead(OptimizerWrapper):
    """Pulls the weights back towards where they were `sync_period` updates ago.

    `averaged_weights(model, "slow")` and the callback `AveragedWeights("slow")` evaluate, predict
    and save with the slow weights; otherwise the model has the fast ones.

    Args:
        inner_optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        sync_period: k, the number of updates from one pull to the next (updates, not batches).
        slow_step_size: α, which part of the way remains: 0 is back to the start, 1 is no pull.
        on_sync: What becomes of the slots of the inner optimizer: "keep", "reset" or "pullback".
        name: A name, as for any optimizer.

    Example:
        >>> model.compile(Lookahead(keras.optimizers.Adam(1e-3), sync_period=5), loss="mse")
    """

    def __init__(
        self,
        inner_optimizer: Any,
        sync_period: int = 6,
        slow_step_size: float = 0.5,
        *,
        on_sync: str = "keep",
        name: str | None = None,
    ) -> None:
        _check(sync_period, slow_step_size, on_sync)
        super().__init__(inner_optimizer, name=name)
        self.sync_period = sync_period
        self.slow_step_size = slow_step_size
        self.on_sync = on_sync

    def build_slots(self, variables: Sequence[Any]) -> None:
        """The slow weights, and what `on_sync` needs of the inner optimizer."""
        self.fast = trained(variables)
        self.slow = self.add_slots(self.fast, "slow", initializer="copy")
        self.since_sync = self.add_variable((), dtype="int32", name="since_sync")
        self.memory = memory_of(self.inner_optimizer) if self.on_sync != "keep" else []
        if self.on_sync == "pullback":
            self.slow_memory = self.add_slots(self.memory, "slow", initializer="copy")
        elif self.on_sync == "reset":
            self.beginnings = beginnings_of(self.inner_optimizer)

    def after_update(self, variables: Sequence[Any], moved: Tensor) -> None:
        """Counts the update, and pulls back if it was the last of its period."""
        count = self.since_sync + ops.cast(moved, "int32")
        due = ops.equal(count, self.sync_period)
        self.assign(self.since_sync, ops.where(due, 0, count))
        slow_memory = self.slow_memory if self.on_sync == "pullback" else []
        run_if(due, self._pull, [*self.fast, *self.slow, *self.memory, *slow_memory])

    def alternatives(self) -> dict[str, list[tuple[Any, Any]]]:
        """The slow weights; before the first update they are the weights themselves."""
        started = self.built and int(ops.convert_to_numpy(self.calls)) > 0
        return {"slow": list(zip(self.fast, self.slow, strict=True)) if started else []}

    def restart(self) -> None:
        """Lets the slow weights start at those of the next update once more.

        Between two calls of `fit`, after other weights were loaded into the model.
        """
        if self.built:
            self.calls.assign(0)
            self.since_sync.assign(0)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            **super().get_config(),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
            "on_sync": self.on_sync,
        }

    def _pull(self) -> None:
        for slow, fast in zip(self.slow, self.fast, strict=True):
            value = self._between(slow, fast)
            if fast.constraint is not None and 0 < self.slow_step_size < 1:
                value = fast.constraint(value)  # between two points of a sphere lies none of it
            self._assign_both(slow, fast, value)
        if self.on_sync == "pullback":
            for slow, fast in zip(self.slow_memory, self.memory, strict=True):
                self._assign_both(slow, fast, self._between(slow, fast))
        elif self.on_sync == "reset":
            for slot, start in zip(self.memory, self.beginnings, strict=True):
                value = ops.cast(ops.convert_to_tensor(start), slot.dtype)
                self.assign(slot, ops.broadcast_to(value, slot.shape))

    def _between(self, slow: Any, fast: Any) -> Tensor:
        """From the nearer end, so that both ends are exact."""
        if self.slow_step_size <= 0.5:
            return slow + self.slow_step_size * (fast - slow)
        return fast - (1.0 - self.slow_step_size) * (fast - slow)

    def _assign_both(self, slow: Any, fast: Any, value: Tensor) -> None:
        self.assign(slow, value)
        self.assign(fast, ops.copy(value))  # a buffer for each


def _check(sync_period: Any, slow_step_size: Any, on_sync: Any) -> None:
    if not isinstance(sync_period, int) or isinstance(sync_period, bool) or sync_period < 1:
        raise ValueError(
            f"`sync_period` must be a positive number of updates, received {sync_period!r}."
        )
    number = isinstance(slow_step_size, (int, float)) and not isinstance(slow_step_size, bool)
    if not number or not 0 <= slow_step_size <= 1:
        raise ValueError(
            "`slow_step_size` must be a number from 0 (back to the slow weights) to 1 (no pull), "
            f"received {slow_step_size!r}."
        )
    if on_sync not in POLICIES:
        raise ValueError(
            f"`on_sync` must be one of {', '.join(POLICIES)}, received on_sync={on_sync!r}."
        )
