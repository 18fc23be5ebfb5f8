"""Does accumulation mend training with batches of one example, as the article of 2019 reports?

    KERAS_BACKEND=jax python -m benchmarks.batch_one --data FOLDER [--seeds 3] [--epochs 5]

The claim (https://spaces.ac.cn/archives/6794): on MNIST, `fit(batch_size=1)` with Adam stays below
97 % on the test set, with `AccumOptimizer(Adam(), 100)` it reaches more than 98 %, about as with
batches of 100.  Here the same three trainings of a dense network, the third being what the second
must be equal to: by the equations of accumulation they are one training, so with the same order of
examples they differ by rounding only, and the last column tells how far.

`--small-batch n` trains with batches of n instead of 1, to get through an epoch sooner; then
windows have 100/n batches.
"""

import argparse
import statistics
import time
from typing import Any

import keras
import numpy as np

from benchmarks.data import data_set
from kooler.optimizers import Accumulate

BIG = 100
WAYS = ("batch of 1", "accumulated", "batch of 100")


def images(folder: str | None) -> tuple[Any, Any, Any, Any]:
    """MNIST as rows of numbers from 0 to 1."""
    with np.load(data_set("mnist", folder) / "mnist.npz") as file:
        x, y, held_x, held_y = (file[n] for n in ("x_train", "y_train", "x_test", "y_test"))
    flat = [one.reshape(len(one), -1).astype("float32") / 255 for one in (x, held_x)]
    return flat[0], y.astype("int32"), flat[1], held_y.astype("int32")


def network(optimizer: Any, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(512, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((784,)), *layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, metrics=["accuracy"])
    return model


def trained(way: str, seed: int, data: Any, options: Any) -> tuple[float, float, Any]:
    """Test accuracy, training loss of the last epoch, and the weights."""
    small = options.small_batch
    optimizer = keras.optimizers.Adam(1e-3)
    if way == "accumulated":
        optimizer = Accumulate(optimizer, BIG // small)
    model = network(optimizer, seed)
    x, y, held_x, held_y = data
    losses = []
    for epoch in range(options.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(x))
        size = BIG if way == "batch of 100" else small
        history = model.fit(x[order], y[order], batch_size=size, shuffle=False, verbose=0)
        losses.append(history.history["loss"][0])
    accuracy = model.evaluate(held_x, held_y, batch_size=1000, verbose=0)[1]
    return accuracy, losses[-1], model.get_weights()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="the folder of data sets; KOOLER_DATA by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--examples", type=int, default=60000, help="of the training set")
    parser.add_argument("--small-batch", type=int, default=1)
    options = parser.parse_args()
    if BIG % options.small_batch:
        parser.error(f"--small-batch must divide {BIG}, received {options.small_batch}.")
    x, y, held_x, held_y = images(options.data)
    data = x[: options.examples], y[: options.examples], held_x, held_y
    print(f"{keras.backend.backend()}, {len(data[0])} examples, {options.epochs} epochs")
    results: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in range(options.seeds):
        weights = {}
        for way in WAYS:
            start = time.perf_counter()
            accuracy, loss, weights[way] = trained(way, seed, data, options)
            results[way].append(100 * accuracy)
            seconds = time.perf_counter() - start
            print(
                f"  seed {seed}  {way:13}{100 * accuracy:7.2f} %  loss {loss:.4f}  {seconds:.0f} s"
            )
        pairs = zip(weights["accumulated"], weights["batch of 100"], strict=True)
        apart = max(float(abs(one - other).max()) for one, other in pairs)
        print(f"  seed {seed}  accumulated and batch of 100 are at most {apart:.1e} apart")
    for way, found in results.items():
        spread = f"{min(found):.2f} to {max(found):.2f}"
        print(f"{way:13}{statistics.mean(found):7.2f} % of the test set, {spread}")


if __name__ == "__main__":
    main()
