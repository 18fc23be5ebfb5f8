"""What does a wrapper that does nothing cost?  And what does our own step cost beside Keras's?

    KERAS_BACKEND=jax python benchmarks/wrapper_overhead.py [--rounds 15] [--steps 20]

A model whose plain step takes a few milliseconds is trained three ways, in turn, `rounds` times:
with Adam, with a wrapper around it that overrides nothing (Keras's own step runs), and with a
technique that does nothing (our step runs).  Printed: the median processor time of a step, and the
median over the rounds of the ratio to the plain step of the same round, with the quartiles.
"""

import argparse
import statistics
import time
from typing import Any

import keras
import numpy as np

from kooler.core.attach import register
from kooler.core.technique import Technique
from kooler.optimizers import OptimizerWrapper


class Nothing(Technique):
    """Stands around the evaluation, and does nothing."""

    def evaluate(self, step: Any, request: Any, inner: Any) -> Any:
        """The same."""
        return inner(request)


def model(way: str, width: int) -> Any:
    """A compiled model, trained in one of the three ways."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(width, activation="relu") for _ in range(3)]
    net = keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(1e-3)
    net.compile(OptimizerWrapper(optimizer) if way == "wrapper" else optimizer, loss="mse")
    if way == "own step":
        register(net, Nothing())
    return net


def milliseconds(net: Any, data: Any) -> float:
    """The processor time of a step, inside of one `fit`."""
    start = time.process_time()
    net.fit(*data, batch_size=128, verbose=0, shuffle=False)
    return 1000 * (time.process_time() - start) / (len(data[0]) // 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--width", type=int, default=512)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    examples = 128 * options.steps
    data = random.normal(size=(examples, 64)).astype("float32"), np.ones((examples, 1), "float32")
    ways = {way: model(way, options.width) for way in ("plain", "wrapper", "own step")}
    for net in ways.values():
        milliseconds(net, data)  # compiles
    rounds = [
        {way: milliseconds(net, data) for way, net in ways.items()} for _ in range(options.rounds)
    ]
    print(f"{keras.backend.backend()}, width {options.width}, {options.rounds} rounds")
    for way in ways:
        times = [one[way] for one in rounds]
        low, middle, high = statistics.quantiles([o[way] / o["plain"] for o in rounds], n=4)
        print(
            f"  {way:9} {statistics.median(times):7.3f} ms a step"
            f"  {middle:6.3f}x plain (quartiles {low:.3f}, {high:.3f})"
        )


if __name__ == "__main__":
    main()
