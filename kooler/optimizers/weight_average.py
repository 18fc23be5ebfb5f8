"""Averages of the weights over the training, beside the weights.

At each update the averages go a little towards the new weights,

    a ← a + r(t)·(θ − a),

by the law that was chosen (`averages.py`, `power_ema.py`).  The weights are only read, so the
training is the same to the last bit with and without.  What is special to this file:

- An *update* counts, not a batch: under `Accumulate`, in either order, nothing happens between two
  updates; `evaluate` never reaches an optimizer at all.
- The weights are read after constraints were applied.
- Averages are float32, whatever the weights are: in bfloat16, 0.999 is 1 and nothing would move.
- Not only weights are averaged but, with `batch_statistics="average"`, also what layers move
  themselves: mean and variance of BatchNorm, and any other floating-point state.  Integers and
  seeds are never touched.

`kooler.callbacks` has what exchanges weights for their averages and back.
"""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.conditional import run_if
from kooler.core.replicas import replica_count, sum_over_replicas
from kooler.core.types import Tensor
from kooler.optimizers.averages import Average
from kooler.optimizers.wrapper import CopyOf, OptimizerWrapper

BATCH_STATISTICS = ("average", "copy", "recompute")


@keras.saving.register_keras_serializable("kooler")
class WeightAverage(OptimizerWrapper):
    """Keeps averages of the weights.

    Args:
        inner_optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        averages: `EMA`, `PowerEMA` or `SWA`, which is then called "average", or a dictionary of
            several by name.
        batch_statistics: What stands in BatchNorm while an average is in the model: "average", the
            average of its statistics by the same law; "copy", those of the training; "recompute",
            those that `update_batch_statistics` computes from data.
        name: A name, as for any optimizer.

    Example:
        >>> model.compile(WeightAverage(keras.optimizers.Adam(1e-3), EMA(0.999)), loss="mse")
        >>> model.fit(x, y, validation_data=held_out, callbacks=[AveragedWeights()])
        >>> with averaged_weights(model):
        ...     model.save("model.keras")
    """

    def __init__(
        self,
        inner_optimizer: Any,
        averages: Average | Mapping[str, Average],
        *,
        batch_statistics: str = "average",
        name: str | None = None,
    ) -> None:
        if batch_statistics not in BATCH_STATISTICS:
            raise ValueError(
                f"`batch_statistics` must be one of {', '.join(BATCH_STATISTICS)}, "
                f"received batch_statistics={batch_statistics!r}."
            )
        laws = _by_name(averages)
        super().__init__(inner_optimizer, name=name)
        self.laws = laws
        self.batch_statistics = batch_statistics
        self._bound: Any = None

    def bind(self, model: Any) -> None:
        """Hears whose BatchNorm statistics it is to average."""
        self._bound = weakref.ref(model)

    @property
    def sees_state(self) -> bool:
        """On JAX, Keras's own step would hide the statistics."""
        if keras.backend.backend() != "jax" or self.batch_statistics != "average":
            return False
        model = self._model()
        return model is None or not model.built or bool(compat.moving_state(model))

    def build_slots(self, variables: Sequence[Any]) -> None:
        """One slot for each average of each weight, and of each moving statistic."""
        self.followed = [v for v in variables if not getattr(v, "overwrite_with_gradient", False)]
        model = self._model() if self.batch_statistics == "average" else None
        self.statistics = compat.moving_state(model) if model is not None else []
        self.average_slots = {
            name: [
                *(self._slot(v, name, "copy") for v in self.followed),
                *(self._slot(v, name, CopyOf(v)) for v in self.statistics),
            ]
            for name in self.laws
        }
        self.updates = self.add_variable((), dtype="int32", name="updates")

    def after_update(self, variables: Sequence[Any], moved: Tensor) -> None:
        """Moves each average towards the weights, if these have moved."""
        self.assign(self.updates, self.updates + ops.cast(moved, "int32"))
        update = ops.convert_to_tensor(self.updates)
        values = [*(v.value for v in self.followed), *self._statistics_now()]
        for name, law in self.laws.items():
            self._move(self.average_slots[name], values, ops.where(moved, law.rate(update), 0.0))

    def alternatives(self) -> dict[str, list[tuple[Any, Any]]]:
        """The averages by name; before the first update they are the weights themselves."""
        if not self.built or int(ops.convert_to_numpy(self.updates)) == 0:
            return {name: [] for name in self.laws}
        averaged = [*self.followed, *self.statistics]
        model = self._model()
        others = [] if model is None else compat.moving_state(model)
        kept = [(v, v) for v in others if all(v is not own for own in averaged)]
        return {
            name: [*zip(averaged, slots, strict=True), *kept]
            for name, slots in self.average_slots.items()
        }

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        averages = {
            name: keras.saving.serialize_keras_object(law) for name, law in self.laws.items()
        }
        return {
            **super().get_config(),
            "averages": averages,
            "batch_statistics": self.batch_statistics,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the wrapper, and first its laws and the optimizer inside of it."""
        averages = {
            name: keras.saving.deserialize_keras_object(law, custom_objects)
            for name, law in config["averages"].items()
        }
        return super().from_config({**config, "averages": averages}, custom_objects)

    # How it is done.

    def _model(self) -> Any:
        return self._bound() if self._bound is not None else None

    def _slot(self, variable: Any, name: str, start: Any) -> Any:
        dtype = variable.dtype if variable.dtype == "float64" else "float32"
        (slot,) = self.add_slots([variable], name, initializer=start, dtype=dtype)
        return slot

    def _start_copies(self) -> None:
        self._start_statistics()
        super()._start_copies()

    def _start_statistics(self) -> None:
        """They start as they were at the build, before the first batch moved them.

        Unless weights were loaded since, for then the statistics were, too; those of the first
        batch are the nearest to them that can be had here.
        """
        if not self.statistics:
            return
        size = len(self.followed)
        first_average = next(iter(self.average_slots.values()))

        def start() -> None:
            loaded = ops.stack(
                [
                    ops.any(ops.not_equal(slot, ops.cast(weight.value, slot.dtype)))
                    for weight, slot in zip(self.followed, first_average, strict=False)
                ]
            )
            values = self._statistics_now()
            for slots in self.average_slots.values():
                for slot, value in zip(slots[size:], values, strict=True):
                    value = ops.cast(value, slot.dtype)
                    self.assign(slot, ops.where(ops.any(loaded), value, slot.value))

        first = ops.equal(self.calls, 0)
        run_if(
            first, start, [slot for slots in self.average_slots.values() for slot in slots[size:]]
        )

    def _statistics_now(self) -> list[Tensor]:
        """The moving statistics; the mean over the replicas of `tf.distribute`."""
        values = [compat.visible_value(variable) for variable in self.statistics]
        if any(value is None for value in values):
            raise ValueError(
                "WeightAverage cannot see the BatchNorm statistics in the training step of "
                f"{type(self._model()).__name__}, which is its own or one of Keras's. Use "
                "batch_statistics='copy' or 'recompute', or train with `fit` after `compile`."
            )
        replicas = replica_count()
        return values if replicas == 1 else [v / replicas for v in sum_over_replicas(values)]

    def _move(self, slots: Sequence[Any], values: Sequence[Tensor], rate: Tensor) -> None:
        if keras.backend.backend() == "torch":
            if float(rate) > 0:
                compat.move_by_torch(slots, values, float(rate))
            return

        def move() -> None:
            for slot, value in zip(slots, values, strict=True):
                self.assign(slot, _between(slot.value, ops.cast(value, slot.dtype), rate))

        if keras.backend.backend() == "jax":  # fused with the update; a condition would copy
            move()
        else:
            run_if(rate > 0, move, slots)


def _between(average: Tensor, value: Tensor, rate: Tensor) -> Tensor:
    """The point average + rate·(value − average), exact at both ends."""
    rate = ops.cast(rate, average.dtype)
    away = value - average
    return ops.where(rate < 0.5, average + rate * away, value - (1 - rate) * away)


def _by_name(averages: Any) -> dict[str, Average]:
    if isinstance(averages, Average):
        return {"average": averages}
    if not isinstance(averages, Mapping) or not averages:
        raise TypeError(
            "`averages` must be EMA(…), PowerEMA(…), SWA(…) or a dictionary of several by name, "
            f"received averages={averages!r}."
        )
    for name, law in averages.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(
                "An average is called by a text without '/', for instance 'slow', "
                f"received the name {name!r}."
            )
        if not isinstance(law, Average):
            raise TypeError(
                f"The average {name!r} must be EMA(…), PowerEMA(…) or SWA(…), received {law!r}."
            )
    return dict(averages)
