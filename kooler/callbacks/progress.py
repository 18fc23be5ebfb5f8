"""How far a training is: one bar for epochs, one for batches, also in validation and prediction.

Drawing is timed, by seconds and not by batches, and everything is read only when it is drawn: the
newest values of the logs, and small counters beside them (updates, examples, learning rate), in the
thread of the training and before the next batch begins.  Between two drawings a batch costs two
calls that look at the clock; Keras goes on sending steps to the device (`async_safe`).  It reports
the ends of batches from several threads then, so they may arrive out of order, and the last ones of
training after validation has begun.

How many examples have gone by is what Keras's mean of the loss was divided by.
"""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, TypeVar

import keras
import numpy as np

from kooler.callbacks.memory import memory_in_use
from kooler.callbacks.processes import is_first_process
from kooler.callbacks.screens import Screen, screen_for
from kooler.callbacks.standing import Standing, chosen
from kooler.callbacks.updates import updates_taken
from kooler.core import compat
from kooler.core.speed import Speed
from kooler.optimizers.group import innermost

SHARE = 0.005  # of the time, that drawing may take

Item = TypeVar("Item")


class Progress(keras.callbacks.Callback):
    """Shows how `fit`, `evaluate` and `predict` get on; also any loop, by `track`.

    On a terminal and in a notebook it draws in place.  Into a file or a pipe it writes a plain line
    every `log_every` seconds and at the end of each epoch.  Use it with `verbose=0`.

    Args:
        metrics: A regular expression; of the logs, what has it in its name is shown. None: all.
        every: Seconds between two drawings, where they replace each other; more, if drawing would
            take more than half a percent of the time. 0 draws before every batch.
        log_every: Seconds between two lines, where they do not.
        per_second: What the speed is counted in: "examples", "batches", or the name of a log that
            counts something up, such as tokens.
        stream: Where to write; None: stderr.

    Example:
        >>> model.fit(x, y, verbose=0, callbacks=[Progress("loss|accuracy")])
        >>> for batch in Progress().track(batches):
        ...     step(batch)
    """

    async_safe = True  # what happens after a batch is to keep its logs

    now: Standing
    _trained: Standing
    _newest: dict[str, tuple[int, dict[str, Any]]]  # by phase: batches that ended, and their logs

    def __init__(
        self,
        metrics: str | None = None,
        *,
        every: float = 0.2,
        log_every: float = 30.0,
        per_second: str = "examples",
        stream: TextIO | None = None,
    ) -> None:
        super().__init__()
        for name, seconds in (("every", every), ("log_every", log_every)):
            if not seconds >= 0:
                raise ValueError(
                    f"`{name}` must be a number of seconds, received {name}={seconds!r}."
                )
        self.metrics, self.every, self.log_every = metrics, every, log_every
        self.per_second = per_second
        self._stream = stream
        self._cost = 0.0  # seconds of the processor, of the last drawing
        self._screen: Screen | None = None
        self._totals: dict[str, int] = {}
        self._fitting = False
        self._lock = threading.Lock()
        self._newest = {}
        self._set_out("")

    def track(
        self, items: Iterable[Item], *, label: str = "item", total: int | None = None
    ) -> Iterator[Item]:
        """Gives the items one by one, and shows how many have been.

        Args:
            items: Anything that can be gone through.
            label: What the bar is called.
            total: How many there are; by default the length of `items`, if it has one.
        """
        total = getattr(items, "__len__", lambda: None)() if total is None else total
        self._begin(label, total)
        try:
            for number, item in enumerate(items):
                self._before(number)
                yield item
                self.now.done = number + 1
            self._end()
        finally:
            self._close()

    def log(self, **values: float) -> None:
        """In a loop of one's own: numbers to be shown with the next drawing."""
        done, logs = self._newest[self.now.phase]
        self._newest[self.now.phase] = done, {**logs, **values}

    # What Keras calls.

    def on_train_begin(self, logs: Any = None) -> None:
        """Training begins."""
        self._fitting = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """An epoch begins; until the first step is compiled, its bar is all there is."""
        self._begin("train", self.params.get("steps"), epoch + 1, self.params.get("epochs", 0))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Draws if it is time."""
        self._before(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keeps the logs; on JAX and TensorFlow in another thread."""
        self._after("train", batch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The epoch is kept on the screen, with its validation."""
        validated = self.now.phase != "train"
        if validated:
            self.now = self._trained  # its speed was read before validation began
        self._end(logs, with_speed=not validated)

    def on_train_end(self, logs: Any = None) -> None:
        """Training is over."""
        self._fitting = False
        self._close()

    def on_test_begin(self, logs: Any = None) -> None:
        """Validation or evaluation begins."""
        if not self._fitting:
            self._begin("evaluate", self.params.get("steps"))
            return
        self._read()
        self._trained = self.now
        self._begin("validate", None, self.now.epoch, self.now.epochs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Draws if it is time."""
        self._before(batch)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keeps the logs."""
        self._after("validate" if self._fitting else "evaluate", batch, logs)

    def on_test_end(self, logs: Any = None) -> None:
        """How many batches validation has is known from now on."""
        self._totals[self.now.phase] = self._done()
        if not self._fitting:
            self._end(logs)
            self._close()

    def on_predict_begin(self, logs: Any = None) -> None:
        """Prediction begins."""
        self._begin("predict", self.params.get("steps"))

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Draws if it is time."""
        self._before(batch)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts; outputs are no numbers to show."""
        self._after("predict", batch, None)

    def on_predict_end(self, logs: Any = None) -> None:
        """Prediction is over."""
        self._end()
        self._close()

    # How it is done.

    def _set_out(self, phase: str) -> None:
        self.now = Standing(phase)
        self._newest[phase] = 0, {}
        self._batches, self._items = Speed(), Speed()
        self._due = time.monotonic() + self._pause()

    def _begin(self, phase: str, total: int | None, epoch: int = 0, epochs: int = 0) -> None:
        if self._screen is None and is_first_process():
            self._screen = screen_for(self._stream or sys.stderr)
        self._set_out(phase)
        self.now.total = self._totals.get(phase) if total is None else total
        self.now.epoch, self.now.epochs = epoch, epochs
        self._batches.see(0)
        self._items.see(0)
        if self._screen is not None and self._screen.in_place:
            self._screen.draw(self.now)

    def _before(self, batch: int) -> None:
        self.now.done = batch
        if batch and time.monotonic() >= self._due and self._screen is not None:
            start = time.thread_time()  # waiting for the device is no work
            self._read()
            self._screen.draw(self.now)
            self._cost = time.thread_time() - start
            self._due = time.monotonic() + self._pause()

    def _pause(self) -> float:
        """Seconds from one drawing to the next."""
        if self._screen is None or not self._screen.in_place:
            return self.log_every
        return self.every and max(self.every, self._cost / SHARE)

    def _after(self, phase: str, batch: int, logs: Any) -> None:
        with self._lock:
            done, last = self._newest[phase]
            if batch >= done:
                self._newest[phase] = batch + 1, logs or last

    def _done(self) -> int:
        return max(self.now.done, self._newest[self.now.phase][0])

    def _end(self, logs: Any = None, with_speed: bool = True) -> None:
        if logs:
            self._newest[self.now.phase] = self._done(), logs
        self._totals[self.now.phase] = self.now.total = self.now.done = self._done()
        if self._screen is None:
            return
        if with_speed:
            self._read_speed()
        self._read_values()
        self._screen.keep(self.now)

    def _close(self) -> None:
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    def _read(self) -> None:
        """Fills in what changes from batch to batch."""
        self._read_speed()
        self._read_values()

    def _read_speed(self) -> None:
        self._batches.see(self.now.done)
        self.now.batches_per_second = self._batches.per_second()
        count = (
            None
            if self.per_second == "batches"
            else self._newest[self.now.phase][1].get(self.per_second)
        )
        if self.per_second == "examples" and count is None and self.now.phase != "predict":
            count = examples_seen(compat.model_of(self))
        if count is not None:
            self._items.see(float(count))
            rate = self._items.per_second()
            self.now.counted = None if rate is None else (rate, self.per_second)

    def _read_values(self) -> None:
        values, model = dict(self._newest[self.now.phase][1]), compat.model_of(self)
        if model is not None and self.now.phase == "train":
            self.now.updates = _updates(model, self.now)
            values.setdefault("learning rate", learning_rate(model))
        self.now.values = chosen(values, self.metrics)
        self.now.memory = memory_in_use()


def learning_rate(model: Any) -> float | None:
    """What the innermost optimizer steps with, also within `fit` on JAX; None if unknown."""
    if getattr(model, "optimizer", None) is None:
        return None
    optimizer = innermost(model.optimizer)
    rate = compat.own_learning_rate(optimizer)
    if isinstance(rate, keras.Variable):
        return float(compat.running_values(model, [rate])[0])
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        counter, _ = compat.update_counter(optimizer)
        return float(np.asarray(keras.ops.convert_to_numpy(rate(_count_of(model, counter)))))
    return None


def examples_seen(model: Any) -> float | None:
    """How many examples the epoch has had; None if the model keeps no mean of its loss."""
    if model is None:
        return None
    means = [one for one in model.metrics if one.name == "loss" and hasattr(one, "count")]
    return float(compat.running_values(model, [means[0].count])[0]) if means else None


def _updates(model: Any, now: Standing) -> int | None:
    """The updates taken, unless each batch of this training made one."""
    if getattr(model, "optimizer", None) is None:
        return None
    taken = updates_taken(model)
    whole = now.total is not None and now.epoch and taken == (now.epoch - 1) * now.total + now.done
    return None if whole or taken == now.done else taken


def _count_of(model: Any, counter: Any) -> int:
    return int(compat.running_values(model, [counter])[0])
