"""The averaged point of schedule-free training, to look at.

`keras.optimizers.ScheduleFreeAdamW` takes its gradients at y, between a fast point z and the mean x
of all fast points so far:

    z ← z − η·m(g)          one step of Adam without momentum
    x ← x + (z − x)/t
    y = (1 − β₁)·z + β₁·x

x is what the method is about: it takes the place of a learning rate that decays, and is what should
be evaluated and saved.  Keras keeps y in the model and z in a slot, and has no way to x.  But it
follows from both,

    x = (y − (1 − β₁)·z) / β₁,

so nothing is added to the training: x is computed when somebody looks.

Source: Defazio, Yang, Mehta, Mishchenko, Khaled, Cutkosky, *The Road Less Scheduled*, 2024,
https://arxiv.org/abs/2405.15682.
"""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.attach import inner_optimizers
from kooler.core.types import Tensor
from kooler.optimizers.wrapper import OptimizerWrapper, as_optimizer


@keras.saving.register_keras_serializable("kooler")
class ScheduleFreeAverage(OptimizerWrapper):
    """Offers the averaged point of a schedule-free optimizer under the name "average".

    Args:
        inner_optimizer: `keras.optimizers.ScheduleFreeAdamW`, or wrappers around it.
        name: A name, as for any optimizer.

    Raises:
        ValueError: There is no such optimizer inside, or its `beta_1` is 0, with which x is lost.

    Example:
        >>> model.compile(ScheduleFreeAverage(keras.optimizers.ScheduleFreeAdamW(1e-3)), "mse")
        >>> model.fit(x, y, validation_data=held_out, callbacks=[AveragedWeights()])
        >>> with averaged_weights(model):
        ...     model.save("model.keras")
    """

    def __init__(self, inner_optimizer: Any, *, name: str | None = None) -> None:
        inner = as_optimizer(inner_optimizer, type(self).__name__)
        found = list(_schedule_free_in(inner))
        if not found:
            raise ValueError(
                "ScheduleFreeAverage needs a ScheduleFreeAdamW inside, received "
                f"{type(inner).__name__}. Write ScheduleFreeAverage("
                "keras.optimizers.ScheduleFreeAdamW(1e-3)), or use WeightAverage."
            )
        if any(one.beta_1 == 0 for one in found):
            raise ValueError(
                "With beta_1=0, ScheduleFreeAdamW keeps its fast weights in the model, and the "
                "average cannot be told from them. Give it a `beta_1` above 0, for instance 0.9."
            )
        super().__init__(inner, name=name)

    def alternatives(self) -> dict[str, list[tuple[Any, Any]]]:
        """The average by name; before the first update it is the weights themselves."""
        if not self.built or int(ops.convert_to_numpy(self.iterations)) == 0:
            return {"average": []}
        return {
            "average": [
                (variable, _average(variable, fast, one.beta_1))
                for one in _schedule_free_in(self.inner_optimizer)
                for variable, fast in compat.fast_points(one)
            ]
        }


def _schedule_free_in(optimizer: Any) -> Iterator[Any]:
    if isinstance(optimizer, keras.optimizers.ScheduleFreeAdamW):
        yield optimizer
    for inner in inner_optimizers(optimizer):
        yield from _schedule_free_in(inner)


def _average(variable: Any, fast: Any, beta: float) -> Tensor:
    y, z = (ops.cast(ops.convert_to_tensor(one), "float32") for one in (variable, fast))
    return (y - (1.0 - beta) * z) / beta
