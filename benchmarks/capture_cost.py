"""What do captured and reparametrised models cost beside plain ones?

    KERAS_BACKEND=jax python benchmarks/capture_cost.py [--rounds 15] [--batches 20] [--width 256]
                                                        [--train]

A stack of self-attention blocks predicts (with `--train`: trains on) the same batches in several
ways, in turn, `rounds` times.
Printed for each way: the median processor time of a batch, the median over the rounds of the ratio
to the plain model in the same round, with the quartiles; and on JAX, which counts them, the ratio
of the operations of the compiled program.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kooler.layers import Orthogonal, SpectralNorm, WeightNorm, reparametrize
from kooler.models import Capture

LENGTH = 32
BATCH = 32
SCORES = "block_*/attend.attention_scores"


class Block(keras.layers.Layer):
    """Attention and two dense layers."""

    def __init__(self, width: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.attend = keras.layers.MultiHeadAttention(4, width // 4, name="attend")
        self.wide = keras.layers.Dense(4 * width, activation="relu", name="wide")
        self.narrow = keras.layers.Dense(width, name="narrow")

    def build(self, shape: Any) -> None:
        """Makes the weights."""
        self.attend.build(shape, shape)
        self.wide.build(shape)
        self.narrow.build((*shape[:-1], self.wide.units))

    def call(self, x: Any) -> Any:
        """The block."""
        x = x + self.attend(x, x)
        return x + self.narrow(self.wide(x))


def model(width: int, blocks: int = 4) -> Any:
    """The plain model."""
    keras.utils.set_random_seed(0)
    layers = [Block(width, name=f"block_{number}") for number in range(blocks)]
    return keras.Sequential([keras.Input((LENGTH, width)), *layers], name="plain")


def ways(width: int) -> dict[str, Any]:
    """Name → model, all with the same computation but for what the name says."""
    return {
        "plain": model(width),
        "a layer captured": Capture(model(width), "block_1"),
        "all scores captured": Capture(model(width), SCORES),
        "only the first block": Capture(model(width), "block_0", output=False),
        "a patch that does nothing": Capture(model(width), [], patch={"block_1": lambda x: x}),
        "weight norm": reparametrize(model(width), "kernel$", WeightNorm()),
        "spectral norm": reparametrize(model(width), "kernel$", SpectralNorm()),
        "orthogonal queries": reparametrize(model(width), "query/kernel$", Orthogonal()),
    }


def runner(one: Any, train: bool) -> Callable[..., Any]:
    """What is timed: `predict`, or a `fit` with a loss on all that the model returns."""
    if not train:
        return one.predict
    one.compile(keras.optimizers.SGD(1e-6), loss="mse")
    targets: dict[int, Any] = {}

    def fit(x: np.ndarray, **arguments: Any) -> None:
        if id(x) not in targets:
            targets[id(x)] = keras.tree.map_structure(np.zeros_like, one.predict(x, **arguments))
        one.fit(x, targets[id(x)], **arguments)

    return fit


def milliseconds(run: Callable[..., Any], x: np.ndarray) -> float:
    """The processor time of a batch."""
    start = time.process_time()
    run(x, batch_size=BATCH, verbose=0)
    return 1000 * (time.process_time() - start) / (len(x) // BATCH)


def operations(one: Any, x: np.ndarray) -> float:
    """The operations of the compiled program for a batch; NaN where no backend counts them."""
    if keras.backend.backend() != "jax":
        return float("nan")
    import jax

    split = len(one.trainable_variables)
    values = [v.value for v in [*one.trainable_variables, *one.non_trainable_variables]]
    run = jax.jit(lambda v, x: one.stateless_call(v[:split], v[split:], x)[0])
    return float(run.lower(values, x[:BATCH]).compile().cost_analysis()["flops"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    shape = (BATCH * options.batches, LENGTH, options.width)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    models = ways(options.width)
    runs = {way: runner(one, options.train) for way, one in models.items()}
    for run in runs.values():
        milliseconds(run, x)  # compiles
    rounds = [
        {way: milliseconds(run, x) for way, run in runs.items()} for _ in range(options.rounds)
    ]
    plain = operations(models["plain"], x)
    print(f"{keras.backend.backend()}, width {options.width}, {options.rounds} rounds")
    for way, one in models.items():
        times = [times[way] for times in rounds]
        low, middle, high = statistics.quantiles([t[way] / t["plain"] for t in rounds], n=4)
        print(
            f"  {way:26} {statistics.median(times):8.3f} ms a batch  {middle:6.3f}x plain "
            f"(quartiles {low:.3f}, {high:.3f})  {operations(one, x) / plain:6.3f}x operations"
        )


if __name__ == "__main__":
    main()
