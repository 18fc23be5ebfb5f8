"""Any measure of a model while it learns: the best is kept, and no more progress ends training.

The measure is a function of the model, so it may decode, search, call another library, or look at
data that `fit` never sees.  It changes nothing: the metrics that `fit` is adding up, and the mode
and random numbers of PyTorch, are afterwards what they were; on JAX the model has its state while
it runs.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.callbacks.random_state import random_state, set_random_state
from kooler.callbacks.updates import Every, check_every, updates_taken
from kooler.core import attach, compat

MODES = ("max", "min")


class Evaluate(keras.callbacks.Callback):
    """Calls a function of the model, notes what it says, and keeps the best weights.

    Its results are in the logs of each epoch, for callbacks that stand behind it in the list (as
    `Checkpoint(best=…)` must) and in the history.

    Args:
        function: Takes the model; gives a number, or a dictionary of numbers by name.
        monitor: Which of them decides; a single number has this name.
        mode: Whether "max" or "min" is better.
        every: Updates between two evaluations; None: at the end of each epoch.
        restore_best: Whether the model has the best weights after `fit`; its averages go with them.
        patience: After so many evaluations without a better one training ends; None: never.

    Attributes:
        best: The best value so far, or None.
        best_update: After how many updates that was.
        records: All results, each with its "update".

    Example:
        >>> def scores(model):
        ...     return {"f1": f1_score(labels, model.predict(x, verbose=0) > 0.5)}
        >>> model.fit(…, callbacks=[Evaluate(scores, monitor="f1", patience=3)])
    """

    async_safe = True  # nothing happens after a batch, so Keras need not wait for us

    best: float | None
    best_update: int | None
    records: list[dict[str, Any]]
    _best_values: list[np.ndarray]

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        monitor: str,
        mode: str = "max",
        every: int | None = None,
        restore_best: bool = True,
        patience: int | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"`mode` must be one of {', '.join(MODES)}, received mode={mode!r}.")
        check_every(every)
        self.function, self.monitor, self.mode = function, monitor, mode
        self.restore_best, self.patience = restore_best, patience
        self._every = None if every is None else Every(every)
        self._forget()

    def on_train_begin(self, logs: Any = None) -> None:
        """A new `fit` looks for its own best."""
        self._forget()
        if self._every is not None:
            self._every.start(self.model)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Evaluates if the updates for it have been taken."""
        if self._every is not None and self._every.is_due(compat.model_of(self)):
            self.run(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Evaluates if it is time, and adds the newest results to the logs."""
        if self._every is None or self._every.look(self.model):
            self.run(self.model)
        if logs is not None and self.records:
            logs.update({k: v for k, v in self.records[-1].items() if k != "update"})

    def on_train_end(self, logs: Any = None) -> None:
        """The best weights come back."""
        if self.restore_best:
            self.restore()

    def run(self, model: Any) -> None:
        """Evaluates now, and compares."""
        with _undisturbed(model):
            results = self._named(self.function(model))
        update = updates_taken(model)
        self.records.append({"update": update, **results})
        if self._is_better(results[self.monitor]):
            self.best, self.best_update = results[self.monitor], update
            self._best_values = _values(_kept(model)) if self.restore_best else []
            self._waited = 0
            return
        self._waited += 1
        if self.patience is not None and self._waited >= self.patience:
            model.stop_training = True

    def restore(self) -> None:
        """Gives the model the best weights; after an exception in `fit` nobody else does."""
        if self.best is not None and self._best_values:
            for variable, value in zip(_kept(self.model), self._best_values, strict=True):
                variable.assign(value)

    def _forget(self) -> None:
        self.best = self.best_update = None
        self.records, self._best_values, self._waited = [], [], 0

    def _named(self, results: Any) -> dict[str, float]:
        if not isinstance(results, Mapping):
            results = {self.monitor: results}
        if self.monitor not in results:
            raise ValueError(
                f"`monitor` must be one of the results of `function`, {', '.join(results)}; "
                f"received monitor={self.monitor!r}."
            )
        return {name: float(ops.convert_to_numpy(value)) for name, value in results.items()}

    def _is_better(self, value: float) -> bool:
        if np.isnan(value):
            return False
        if self.best is None:
            return True
        return value > self.best if self.mode == "max" else value < self.best


@contextlib.contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
    """Afterwards metrics, mode and random numbers are what they were."""
    metrics = model.metrics_variables
    values, training, random = _values(metrics), getattr(model, "training", None), random_state()
    try:
        yield
    finally:
        for variable, value in zip(metrics, values, strict=True):
            variable.assign(value)
        set_random_state(random)
        if keras.backend.backend() == "torch":
            model.train(training)


def _kept(model: Any) -> list[Any]:
    """The weights, and what wrappers keep beside them, each once."""
    found = list(model.weights)
    for wrapper in attach.wrappers_in(model.optimizer):
        for pairs in wrapper.alternatives().values():
            found += [slot for _, slot in pairs if isinstance(slot, keras.Variable)]
    return list({id(variable): variable for variable in found}.values())


def _values(variables: list[Any]) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]
