"""Hyper-parameters that change during training, by the number of updates taken.

Before each batch the target gets the value schedule(n), n being the updates taken so far, as with
Keras's learning-rate schedules.  What moves may be the learning rate, seen through all wrappers,
any variable of the model, or an attribute of any object.  A plain attribute is a constant of the
compiled step, on JAX and TensorFlow silently so: when it changes, the step is compiled again.

    {0: 0.0, 1000: 1e-3, 9000: 0.0}        points, joined by straight lines: warm-up and decay
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.callbacks.updates import updates_taken
from kooler.core import compat
from kooler.optimizers.group import innermost

Schedule = Callable[[int], Any]


class HyperParameter(keras.callbacks.Callback):
    """Gives something a value by the number of updates taken, and notes it in the logs.

    The number of updates is read before each batch.  Where the learning rate of a fast step is all
    that moves, a Keras schedule inside of the optimizer costs less.

    Args:
        target: "learning_rate"; a variable of the model or of its optimizer; or a pair of an object
            and the name of its attribute, for example (layer, "rate").
        schedule: Points {update: value}, joined by straight lines; or a function of the number of
            updates taken, for example a Keras schedule.

    Raises:
        TypeError: `target` or `schedule` is none of these.
        ValueError: There is no such attribute, or no point.

    Example:
        >>> HyperParameter("learning_rate", {0: 0.0, 1000: 1e-3})  # warm-up
        >>> HyperParameter((dropout, "rate"), lambda update: 0.1 if update < 5000 else 0.3)
    """

    async_safe = True  # nothing happens after a batch, so Keras need not wait for us

    def __init__(self, target: Any, schedule: Mapping[int, float] | Schedule) -> None:
        super().__init__()
        self.name = _name_of(target)
        self.schedule = _function_of(schedule)
        self._target = target
        self._value: float | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds out whether the target is there, before the training."""
        self._value = None
        if isinstance(self._target, str):
            _check_learning_rate(self.model.optimizer)
        elif isinstance(variable := self._variable(), keras.Variable):
            _check_belongs(variable, self.model)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the value for the update to come."""
        value = float(ops.convert_to_numpy(self.schedule(updates_taken(compat.model_of(self)))))
        if value != self._value:
            self._write(self.model, value)  # on JAX, `self.model` has its state back
            self._value = value

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Notes the last value of the epoch."""
        if logs is not None and self._value is not None:
            logs[self.name] = self._value

    def _variable(self) -> Any:
        return getattr(*self._target) if isinstance(self._target, tuple) else self._target

    def _write(self, model: Any, value: float) -> None:
        variable = self._variable()
        if isinstance(variable, str):
            model.optimizer.learning_rate = value
        elif isinstance(variable, keras.Variable):
            variable.assign(value)
        elif variable != value:
            owner, name = self._target
            setattr(owner, name, value)
            model.make_train_function(force=True)


def _name_of(target: Any) -> str:
    if isinstance(target, keras.Variable):
        return str(target.path)
    if isinstance(target, tuple) and len(target) == 2 and isinstance(target[1], str):
        if not hasattr(*target):
            raise ValueError(
                f"{type(target[0]).__name__} has no attribute {target[1]!r} to be changed. Name "
                "one that it has, or give a variable."
            )
        return target[1]
    if target == "learning_rate":
        return "learning_rate"
    raise TypeError(
        "`target` must be 'learning_rate', a variable, or an object with the name of an "
        f"attribute, as in (layer, 'rate'); received target={target!r}."
    )


def _function_of(schedule: Any) -> Schedule:
    if callable(schedule):
        function: Schedule = schedule
        return function
    if not isinstance(schedule, Mapping):
        raise TypeError(
            "`schedule` must be points {update: value} or a function of the number of updates "
            f"taken, received schedule={schedule!r}. A value that never moves needs no schedule."
        )
    if not schedule:
        raise ValueError("`schedule` has no point. Give one at least, as in {0: 0.0, 1000: 1e-3}.")
    updates = sorted(schedule)
    values = [schedule[update] for update in updates]
    return lambda update: np.interp(update, updates, values)


def _check_learning_rate(optimizer: Any) -> None:
    rate = compat.own_learning_rate(innermost(optimizer))
    if not isinstance(rate, keras.Variable):
        raise ValueError(
            f"The optimizer {optimizer.name!r} has a schedule of its own, {rate!r}, as its "
            "learning rate, so none can be set. Give it a number, or leave the schedule to it."
        )


def _check_belongs(variable: Any, model: Any) -> None:
    known = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    if all(variable is not one for one in known):
        raise ValueError(
            f"The variable {variable.path!r} is none of {model.name!r} nor of its optimizer, so a "
            "compiled step may never see it change. Make it in a layer, with `add_weight`."
        )
