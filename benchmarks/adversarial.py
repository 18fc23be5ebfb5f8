"""Does adversarial training of word vectors help a text classifier?  On `sst2`, over several seeds.

    KERAS_BACKEND=jax python -m benchmarks.adversarial [--data FOLDER] [--seeds 5] [--epochs 8]
        [--out runs/adversarial]

The classifier of `examples/adversarial_text.py` is trained plainly and in four adversarial ways,
each from the same seeds. ε is chosen for each way on the dev set with a seed that is not used
again; the test set is evaluated once per way and seed, at the epoch that is best on dev. Printed:
accuracy on test, mean and standard deviation over the seeds, and the gain over plain training of
the same seed.  With `--out`, runs that are finished are only read.
"""

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.data import data_set
from benchmarks.remembered import Remembered
from examples.adversarial_text import (
    WAYS,
    classifier,
    encoded,
    made_sentences,
    read_sentences,
    vocabulary,
)

TUNING_SEED = 1000
EPSILONS = {
    "fast": (0.1, 0.3, 0.6),
    "projected": (0.1, 0.3, 0.6),
    "virtual": (0.1, 0.3, 1.0),
    "penalty": (3.0, 10.0, 30.0),
}


class BestOnDev(keras.callbacks.Callback):
    """Keeps the accuracy on test of the epoch that is best on dev."""

    def __init__(self, test: Any) -> None:
        super().__init__()
        self.test = test
        self.dev = 0.0
        self.accuracy = 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Evaluates where dev says that it is worth it."""
        if logs["val_accuracy"] > self.dev:
            self.dev = logs["val_accuracy"]
            self.accuracy = self.model.evaluate(*self.test, verbose=0)[1]


def trained(
    parts: Any, words: int, way: str | None, epsilon: float, seed: int, options: Any
) -> tuple[float, float]:
    """Accuracy on dev, and on test at the same epoch; known ones are not trained again."""
    found = options.runs(
        *(way, epsilon, seed, options.epochs, options.width),
        run=lambda: measured(parts, words, way, epsilon, seed, options),
    )
    return found[0], found[1]


def measured(
    parts: Any, words: int, way: str | None, epsilon: float, seed: int, options: Any
) -> tuple[float, float]:
    """One training: accuracy on dev, and on test at the same epoch."""
    train, dev, test = parts
    net = classifier(words, seed, options.width)
    if way:
        WAYS[way](epsilon).inject(net)
    best = BestOnDev(test)
    net.fit(
        *train,
        batch_size=64,
        epochs=options.epochs,
        validation_data=dev,
        callbacks=[best],
        verbose=0,
    )
    return best.dev, best.accuracy


def read(options: argparse.Namespace) -> Any:
    """Train, dev and test."""
    if options.tiny:
        return [made_sentences(200, seed) for seed in (1, 2, 3)]
    folder = data_set("sst2", options.data)
    return [read_sentences(folder / f"{name}.tsv") for name in ("train", "dev", "test")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epsilons", type=float, nargs="+", help="instead of those of each way")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--tiny", action="store_true", help="made sentences instead of data")
    parser.add_argument("--out", type=Path, help="where the results of finished runs are kept")
    options = parser.parse_args()
    options.runs = Remembered(options.out and options.out / "runs.jsonl")
    texts = read(options)
    words = vocabulary(texts[0][0])
    parts = [encoded(*part, words) for part in texts]
    print(
        f"{keras.backend.backend()}, {os.cpu_count()} cores, {options.seeds} seeds, "
        f"{len(words)} words, {options.epochs} epochs"
    )
    plain = [trained(parts, len(words), None, 0.0, s, options)[1] for s in range(options.seeds)]
    print(f"  plain              {100 * np.mean(plain):.2f} ± {100 * np.std(plain, ddof=1):.2f}")
    for way in options.ways:
        tuned = {
            epsilon: trained(parts, len(words), way, epsilon, TUNING_SEED, options)[0]
            for epsilon in options.epsilons or EPSILONS[way]
        }
        epsilon = max(tuned, key=lambda one: tuned[one])
        found = [
            trained(parts, len(words), way, epsilon, s, options)[1] for s in range(options.seeds)
        ]
        gains = [100 * (one - base) for one, base in zip(found, plain, strict=True)]
        print(
            f"  {way:10} ε = {epsilon:<4} {100 * np.mean(found):.2f} ± "
            f"{100 * np.std(found, ddof=1):.2f}   gain {statistics.mean(gains):+.2f} ± "
            f"{statistics.stdev(gains):.2f}"
        )


if __name__ == "__main__":
    main()
