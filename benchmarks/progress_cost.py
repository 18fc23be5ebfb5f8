"""What does a bar cost?

    KERAS_BACKEND=jax python -m benchmarks.progress_cost [--rounds 15] [--steps 600] [--width 384]

A model whose step takes a few milliseconds is trained in four ways:

    nothing     verbose=0
    terminal    `Progress` on a terminal of 80 columns: bars five times a second
    file        `Progress` into a file: a line at the end of an epoch
    keras       Keras's own bar, verbose=1, into a file that says it is a terminal

All four take turns in one process, an epoch each, each round beginning with another one.  What the
bars write is kept in memory, so that no window has to draw it.  Printed, by the clock and in
processor time: the median of a step, the median over the rounds of the ratio to nothing, and the
interval in which that lies for 95 % of the bootstrap samples.  A machine that does other things
moves the clock more than a bar does; so the processor time within the methods of `Progress` is
added up too, and printed as a share of that of the epochs that it showed.  To look at the clock
costs a few microseconds itself, so a callback that does nothing stands beside it, timed alike, and
what that takes is deducted.
"""

import argparse
import contextlib
import io
import os
import time
from typing import Any

import keras
import numpy as np

from benchmarks.wrapper_overhead import interval
from kooler.callbacks import Progress

BATCH = 64
WAYS = ("nothing", "terminal", "file", "keras")


class Screen(io.StringIO):
    """A terminal that nobody looks at."""

    def isatty(self) -> bool:
        """So it says."""
        return True


class Empty(keras.callbacks.Callback):
    """Does nothing."""

    async_safe = True

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Nothing."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Nothing."""


class Spent:
    """Adds up the processor time within the methods of a callback."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def watch(self, callback: Any) -> Any:
        """The callback, timed in the threads that call it."""
        for name in dir(type(callback)):
            if name.startswith("on_"):
                setattr(callback, name, self._timed(getattr(callback, name)))
        return callback

    def _timed(self, method: Any) -> Any:
        def call(*given: Any, **named: Any) -> None:
            start = time.thread_time()
            method(*given, **named)
            self.seconds += time.thread_time() - start

        return call


bars, measuring = Spent(), Spent()


def model(width: int) -> Any:
    """A compiled model with a metric."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(width, activation="relu") for _ in range(3)]
    net = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(1)])
    net.compile(keras.optimizers.Adam(1e-3), loss="mse", metrics=["mae"])
    return net


def milliseconds(net: Any, data: Any, way: str) -> tuple[float, float]:
    """By the clock and of the processor, of a step, within one `fit` of one epoch."""
    stream = Screen() if way != "file" else io.StringIO()
    bar: list[Any] = []
    if way in ("terminal", "file"):
        bar = [measuring.watch(Empty()), bars.watch(Progress(stream=stream))]
    steps = len(data[0]) // BATCH
    start = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(stream):
        net.fit(*data, batch_size=BATCH, verbose=int(way == "keras"), shuffle=False, callbacks=bar)
    end = time.perf_counter(), time.process_time()
    return 1000 * (end[0] - start[0]) / steps, 1000 * (end[1] - start[1]) / steps


def measured(net: Any, data: Any, rounds: int) -> np.ndarray:
    """Milliseconds [rounds, ways, 2]; each round begins with another way."""
    times = np.zeros((rounds, len(WAYS), 2))
    for row in range(rounds):
        for column in np.roll(np.arange(len(WAYS)), row):
            times[row, column] = milliseconds(net, data, WAYS[column])
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--width", type=int, default=384)
    options = parser.parse_args()
    os.environ.update(TERM="xterm-256color", COLUMNS="80")
    examples = BATCH * options.steps
    random = np.random.default_rng(0)
    data = random.normal(size=(examples, 64)).astype("float32"), np.ones((examples, 1), "float32")
    net = model(options.width)
    measured(net, (data[0][: 8 * BATCH], data[1][: 8 * BATCH]), 1)  # compiles
    bars.seconds = measuring.seconds = 0.0
    times = measured(net, data, options.rounds)
    print(f"{keras.backend.backend()}: {options.rounds} rounds of {options.steps} steps")
    for kind, clock in enumerate(("by the clock", "of the processor")):
        for column, way in enumerate(WAYS):
            ratios = times[:, column, kind] / times[:, 0, kind]
            low, high = interval(ratios)
            median = np.median(times[:, column, kind])
            print(
                f"  {way:9} {median:7.3f} ms a step {clock}; "
                f"{np.median(ratios):6.3f} times ({low:.3f} to {high:.3f})"
            )
    shown = times[:, 1:3, 1].sum() * options.steps / 1000
    spent = bars.seconds - measuring.seconds
    each = 1e6 * spent / (2 * options.rounds * options.steps)
    share = f"{100 * spent / shown:.2f} % of the processor time"
    print(f"  within Progress: {share}, {each:.1f} µs a step")


if __name__ == "__main__":
    main()
