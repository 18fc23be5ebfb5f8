"""What does a wrapper that does nothing cost?  And what does it cost to know the batch?

    KERAS_BACKEND=jax python -m benchmarks.wrapper_overhead [--rounds 200] [--width 512]

A model whose plain step takes a few milliseconds is trained in four ways:

    plain       Adam
    wrapper     a wrapper around Adam that overrides nothing: Keras's own step runs
    told        the same, but it asks for the facts of each batch (`needs_batch`)
    own step    Adam, and a technique of the step that does nothing

All four take turns in one process, `rounds` times, each time a few steps and each time beginning
with another one, so that whatever else the machine does meets all of them alike. Printed, in
processor time: the median and the minimum of a step; the median over the rounds of the ratio to the
plain steps of the same round, with the interval in which it lies for 95 % of the bootstrap samples;
and the ratio of the minima, which other processes disturb least.
"""

import argparse
import time
from typing import Any, ClassVar

import keras
import numpy as np

from kooler.core.attach import register
from kooler.core.technique import Technique
from kooler.optimizers import OptimizerWrapper

BATCH = 128
WAYS = ("plain", "wrapper", "told", "own step")


class Nothing(Technique):
    """Stands around the evaluation, and does nothing."""

    def evaluate(self, step: Any, request: Any, inner: Any) -> Any:
        """The same."""
        return inner(request)


class Told(OptimizerWrapper):
    """Asks for the facts of each batch, and does nothing with them."""

    needs_batch: ClassVar[bool] = True


def model(way: str, width: int) -> Any:
    """A compiled model, trained in one of the four ways."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(width, activation="relu") for _ in range(3)]
    net = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(1)])
    optimizer: Any = keras.optimizers.Adam(1e-3)
    wrapper = {"wrapper": OptimizerWrapper, "told": Told}.get(way)
    net.compile(wrapper(optimizer) if wrapper else optimizer, loss="mse")
    if way == "own step":
        register(net, Nothing())
    return net


def milliseconds(net: Any, data: Any) -> float:
    """The processor time of a step, inside of one `fit`."""
    start = time.process_time()
    net.fit(*data, batch_size=BATCH, verbose=0, shuffle=False)
    return 1000 * (time.process_time() - start) / (len(data[0]) // BATCH)


def measured(nets: dict[str, Any], data: Any, rounds: int) -> np.ndarray:
    """Milliseconds [rounds, ways]; each round begins with another way."""
    times = np.zeros((rounds, len(WAYS)))
    for row in range(rounds):
        for column in np.roll(np.arange(len(WAYS)), row):
            times[row, column] = milliseconds(nets[WAYS[column]], data)
    return times


def interval(ratios: np.ndarray) -> tuple[float, float]:
    """Where the median lies in 95 % of the samples drawn from these."""
    random = np.random.default_rng(0)
    medians = np.median(random.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    examples = BATCH * options.steps
    data = random.normal(size=(examples, 64)).astype("float32"), np.ones((examples, 1), "float32")
    nets = {way: model(way, options.width) for way in WAYS}
    measured(nets, data, 2)  # compiles
    times = measured(nets, data, options.rounds)
    print(f"{keras.backend.backend()}, width {options.width}, {options.rounds} rounds")
    for column, way in enumerate(WAYS):
        ratios = times[:, column] / times[:, 0]
        low, high = interval(ratios)
        print(
            f"  {way:9} median {np.median(times[:, column]):7.3f} ms, minimum"
            f" {times[:, column].min():7.3f} ms a step; median ratio {np.median(ratios):6.3f}"
            f" ({low:.3f} to {high:.3f}), ratio of minima"
            f" {times[:, column].min() / times[:, 0].min():6.3f}"
        )


if __name__ == "__main__":
    main()
