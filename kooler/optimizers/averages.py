"""Laws of averaging: how far an average goes towards the weights at each update.

An average a of the weights θ is moved at update t = 1, 2, … by

    a ← a + r(t)·(θ − a),      0 ≤ r(t) ≤ 1,

and starts at the weights before the first update.  A law is the function r and nothing else; t is
counted by `WeightAverage`, from the update at which it began.

- `EMA`: r(t) = 1 − d, the exponential moving average with decay d.  A half-life of h updates is
  d = 2^(−1/h).  With `warmup`, the decay grows from 0: d(t) = min(d, 1 − t^(−2/3)), so that the
  first weights are soon forgotten.  The law is that of timm's `ModelEmaV3` (`use_warmup`) and of
  ema-pytorch, both with exponent 2/3: https://github.com/huggingface/pytorch-image-models,
  `timm/utils/model_ema.py`.
- `SWA`: r = 1/n at the n-th snapshot, 0 between: the plain mean of the snapshots (Izmailov et al.
  2018, https://arxiv.org/abs/1803.05407).
- `PowerEMA` has its own file.
"""

import math
from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor


class Average:
    """A law of averaging."""

    def rate(self, update: Tensor) -> Tensor:
        """How far the average goes towards the weights.

        Args:
            update: int32 scalar, 1 at the first update.

        Returns:
            Float32 scalar from 0 (stay) to 1 (become the weights).
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Average":
        """Makes the law again."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = (f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({', '.join(arguments)})"


@keras.saving.register_keras_serializable("kooler")
class EMA(Average):
    """An exponential moving average: a ← d·a + (1 − d)·θ.

    Args:
        decay: d per update, at least 0 and below 1.
        half_life: Instead of `decay`: after how many updates a weight counts half.
        warmup: Whether the decay grows from 0, as min(d, 1 − t^(−2/3)) at update t.
        every: Looks at the weights only every so many updates, with the decay of all of them.

    Example:
        >>> EMA(0.999)
        >>> EMA(half_life=2000, warmup=True)
    """

    def __init__(
        self,
        decay: float | None = None,
        *,
        half_life: float | None = None,
        warmup: bool = False,
        every: int = 1,
    ) -> None:
        if (decay is None) == (half_life is None):
            raise ValueError(
                "EMA needs either `decay` or `half_life`, received "
                f"decay={decay!r}, half_life={half_life!r}. Write EMA(0.999) or "
                "EMA(half_life=1000)."
            )
        if decay is not None and not (is_number(decay) and 0 <= decay < 1):
            raise ValueError(
                "`decay` must be a number of at least 0 and below 1, "
                f"received decay={decay!r}. Usual are 0.99 to 0.9999."
            )
        if half_life is not None and not (is_number(half_life) and half_life > 0):
            raise ValueError(
                "`half_life` must be a positive number of updates, "
                f"received half_life={half_life!r}."
            )
        self.decay = decay
        self.half_life = half_life
        self.warmup = bool(warmup)
        self.every = positive_integer("every", every)

    def rate(self, update: Tensor) -> Tensor:
        """1 − d(t)^every at every `every`-th update."""
        rate = ops.convert_to_tensor(-math.expm1(self.every * self._log_decay()), "float32")
        if self.warmup:
            young = ops.power(ops.cast(update, "float32"), -2 / 3)  # 1 − decay
            rate = ops.maximum(rate, -ops.expm1(self.every * ops.log1p(-young)))
        return ops.where(is_multiple(update, self.every), rate, 0.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            "decay": self.decay,
            "half_life": self.half_life,
            "warmup": self.warmup,
            "every": self.every,
        }

    def _log_decay(self) -> float:
        if self.half_life is not None:
            return -math.log(2) / self.half_life
        return math.log(self.decay) if self.decay else -math.inf


@keras.saving.register_keras_serializable("kooler")
class SWA(Average):
    """The mean of the weights at every `every`-th update after the first `start` ones.

    Until the first of them, the average follows the weights.

    Args:
        start: How many updates pass before.
        every: Updates between two snapshots, for instance the length of a cycle of the learning
            rate.

    Example:
        >>> SWA(start=10_000, every=500)  # updates 10 500, 11 000, …
    """

    def __init__(self, *, start: int = 0, every: int = 1) -> None:
        if not is_integer(start) or start < 0:
            raise ValueError(
                "`start` must be a number of updates, an integer of at least 0, "
                f"received start={start!r}."
            )
        self.start = int(start)
        self.every = positive_integer("every", every)

    def rate(self, update: Tensor) -> Tensor:
        """1/n at the n-th snapshot."""
        taken = (update - self.start) // self.every
        due = is_multiple(update - self.start, self.every)
        mean = 1.0 / ops.cast(ops.maximum(taken, 1), "float32")
        return ops.where(taken < 1, 1.0, ops.where(due, mean, 0.0))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"start": self.start, "every": self.every}


def is_multiple(update: Tensor, every: int) -> Tensor:
    """Boolean scalar: whether `every` divides the number of an update."""
    return ops.equal(ops.mod(update, every), 0)


def positive_integer(name: str, value: Any) -> int:
    """The value of an argument that counts updates.

    Raises:
        ValueError: It is no positive integer.
    """
    if is_integer(value) and value > 0:
        return int(value)
    raise ValueError(
        f"`{name}` must be a positive number of updates, received {name}={value!r}. "
        f"Use {name}=1 for each update."
    )


def is_integer(value: Any) -> bool:
    """Whether a value is an integer, of Python or NumPy, and no boolean."""
    return is_number(value) and int(value) == value and not isinstance(value, float)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, of Python or NumPy, and no boolean."""
    if isinstance(value, bool | str | bytes) or value is None:
        return False
    try:
        return math.isfinite(value)
    except TypeError:
        return False
