"""Each technique around an optimizer, for trainings on several devices."""

from collections.abc import Callable
from typing import Any

import keras

from kooler.optimizers import (
    EMA,
    SWA,
    Accumulate,
    GradientTransform,
    Group,
    LearningRateMultiplier,
    Lookahead,
    ParamGroups,
    ScheduleFreeAverage,
    Telemetry,
    WeightAverage,
    transforms,
)


def adam() -> Any:
    return keras.optimizers.Adam(0.05)


WRAPPED: dict[str, Callable[[], Any]] = {
    "accumulate": lambda: Accumulate(keras.optimizers.SGD(0.05), 2),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(Accumulate(adam(), 2), 2.0**4),
    "lookahead": lambda: Lookahead(adam(), 2, 0.5, on_sync="pullback"),
    "multiplier": lambda: LearningRateMultiplier(adam(), {"kernel": 0.5}),
    "clip": lambda: GradientTransform(adam(), transforms.clip_by_global_norm(0.5)),
    "average": lambda: WeightAverage(
        Accumulate(adam(), 2), {"ema": EMA(0.5), "swa": SWA(start=1)}, batch_statistics="copy"
    ),
    "average of groups": lambda: WeightAverage(
        ParamGroups([Group("bias", lr_multiplier=2.0)], adam()), EMA(0.5)
    ),
    "telemetry": lambda: Telemetry(adam(), ["gradient_norm", "update_norm"]),
    "schedule free": lambda: ScheduleFreeAverage(keras.optimizers.ScheduleFreeAdamW(0.05)),
}
"""By name, what makes an optimizer."""
