"""Do averages of the weights, or Lookahead, classify better than plain Adam?

    KERAS_BACKEND=jax python -m benchmarks.averages --data FOLDER [--seeds 5] [--epochs 4]

The data set `arxiv_cat16`: an abstract in, one of 16 categories out.  The model is small: an
embedding, its masked mean over the words, a hidden layer.  Each seed trains once with Adam inside
of `WeightAverage`, whose averages do not change the training, so that plain weights, exponential
averages and the stochastic weight average are compared on the *same* run; and once with Lookahead.

Printed: accuracy on the dev set after each epoch (and, with `--test`, on the test set after the
last one), mean and standard deviation over the seeds, and the difference to plain Adam of the same
seed.
"""

import argparse
import collections
import re
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.data import data_set
from kooler.callbacks import averaged_weights
from kooler.optimizers import EMA, SWA, Lookahead, WeightAverage

WORDS = 20_000
LENGTH = 160
BATCH = 64


def read(path: Path, limit: int | None) -> tuple[list[str], list[list[str]]]:
    """Labels and words of each line."""
    lines = [line.split("\t", 1) for line in path.read_text("utf-8").splitlines()[:limit]]
    return [one[0] for one in lines], [re.findall(r"[a-z0-9]+", one[1].lower()) for one in lines]


def numbered(texts: list[list[str]], index: dict[str, int]) -> np.ndarray:
    """Word ids, [texts, LENGTH]; 0 pads, 1 is any other word."""
    ids = np.zeros((len(texts), LENGTH), "int32")
    for row, words in zip(ids, texts, strict=True):
        known = [index.get(word, 1) for word in words[:LENGTH]]
        row[: len(known)] = known
    return ids


def load(folder: Path, limit: int | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The three parts: word ids and category numbers."""
    parts = {name: read(folder / f"{name}.tsv", limit) for name in ("train", "dev", "test")}
    labels = {label: i for i, label in enumerate(sorted(set(parts["train"][0])))}
    counts = collections.Counter(word for words in parts["train"][1] for word in words)
    index = {word: i + 2 for i, (word, _) in enumerate(counts.most_common(WORDS - 2))}
    return {
        name: (numbered(texts, index), np.array([labels[one] for one in names], "int32"))
        for name, (names, texts) in parts.items()
    }


def classifier(seed: int) -> keras.Model:
    """Embedding, mean over the words, hidden layer, categories."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            keras.layers.Embedding(WORDS, 64, mask_zero=True),
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(16),
        ]
    )


def averages(updates_an_epoch: int) -> dict[str, Any]:
    """The laws that are compared."""
    return {
        "EMA, half-life a tenth of an epoch": EMA(half_life=updates_an_epoch / 10, warmup=True),
        "EMA, half-life an epoch": EMA(half_life=updates_an_epoch, warmup=True),
        "EMA, decay 0.9999 (the series)": EMA(0.9999),
        "SWA, from the second epoch on": SWA(start=updates_an_epoch, every=10),
    }


def accuracies(
    optimizer: Any, names: list[str], parts: dict[str, Any], seed: int, epochs: int, test: bool
) -> dict[str, list[float]]:
    """The accuracy after each epoch at the plain weights, and at each average."""
    model = classifier(seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, metrics=["accuracy"])
    found: dict[str, list[float]] = collections.defaultdict(list)

    def look(part: str) -> None:
        found["plain"].append(model.evaluate(*parts[part], verbose=0, batch_size=512)[1])
        for name in names:
            with averaged_weights(model, name):
                found[name].append(model.evaluate(*parts[part], verbose=0, batch_size=512)[1])

    for _ in range(epochs):
        model.fit(*parts["train"], batch_size=BATCH, verbose=0)
        look("dev")
    if test:
        look("test")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="where the data sets lie, or KOOLER_DATA")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--limit", type=int, help="lines of each file, to try it out")
    parser.add_argument("--test", action="store_true", help="the test set, too, at the very end")
    options = parser.parse_args()
    parts = load(data_set("arxiv_cat16", options.data), options.limit)
    laws = averages(-(-len(parts["train"][0]) // BATCH))
    runs: dict[str, list[list[float]]] = collections.defaultdict(list)
    for seed in range(options.seeds):
        start = time.process_time()
        adam = WeightAverage(keras.optimizers.Adam(options.rate), laws)
        lookahead = Lookahead(keras.optimizers.Adam(options.rate), 5, 0.5)
        rest = parts, seed, options.epochs, options.test
        for name, found in accuracies(adam, list(laws), *rest).items():
            runs[name.replace("plain", "Adam")].append(found)
        runs["Lookahead(Adam), 5 and 0.5"].append(accuracies(lookahead, [], *rest)["plain"])
        print(f"seed {seed}: {time.process_time() - start:.0f} s of the processor", flush=True)
    show(runs, options)


def show(runs: dict[str, list[list[float]]], options: argparse.Namespace) -> None:
    """A table: after each epoch, mean ± standard deviation in %, and the difference to Adam."""
    columns = [f"dev, epoch {i + 1}" for i in range(options.epochs)] + ["test"] * options.test
    print(f"{keras.backend.backend()}, {options.seeds} seeds, accuracy in %, difference to Adam")
    for column, title in enumerate(columns):
        print(title)
        plain = [100 * run[column] for run in runs["Adam"]]
        for name, found in runs.items():
            values = [100 * run[column] for run in found]
            gain = [a - b for a, b in zip(values, plain, strict=True)]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            print(
                f"  {name:36} {statistics.mean(values):6.2f} ± {spread:4.2f}"
                f"   {statistics.mean(gain):+5.2f}"
                f" ± {statistics.stdev(gain) if len(gain) > 1 else 0.0:4.2f}"
            )


if __name__ == "__main__":
    main()
