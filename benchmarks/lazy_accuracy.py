"""Does it help to update only the embeddings of the words that a batch contains?

    KERAS_BACKEND=jax python -m benchmarks.lazy_accuracy --data FOLDER
        [--sets arxiv_cat16 online_shopping_10_cats] [--seeds 5] [--epochs 5] [--limit 0]
        [--out runs/lazy_accuracy]

The series reported 84.9 % instead of 83.7 % for one run of text classification. Here: an embedding
of all words (of Chinese: pairs of characters) that occur twice, an LSTM, a softmax; dense Adam and
the three meanings of `Lazy`, some seeds each, otherwise the same. Printed for each epoch: the mean
and the standard deviation of the accuracy on held-out texts, and the mean of the seconds so far.
The seconds of the first epoch include the compilation.  With `--out`, runs that
are finished are only read.
"""

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.data import data_set
from benchmarks.remembered import Remembered
from kooler.layers import SparseEmbedding
from kooler.optimizers import Lazy

LENGTH, BATCH = 100, 64
Texts = list[tuple[str, list[str]]]
WAYS = ("dense", "freeze", "decay", "catch_up")


def read(path: Path) -> Texts:
    """Label and words of each line."""
    lines = path.read_text("utf-8").splitlines()
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return [(label, words(text)) for label, text in pairs]


def words(text: str) -> list[str]:
    """Words, or pairs of neighbours where there are no spaces."""
    if sum(one.isascii() for one in text) > len(text) / 2:
        return text.lower().split()[:LENGTH]
    return [one + other for one, other in itertools.pairwise(text)][:LENGTH]


def split(name: str, folder: Path) -> tuple[Texts, Texts]:
    """Texts for training and held-out ones: the set's own, or every tenth."""
    train = read(folder / "train.tsv")
    if (folder / "dev.tsv").is_file():
        return train, read(folder / "dev.tsv")
    np.random.default_rng(0).shuffle(train)  # type: ignore[arg-type]
    return [one for i, one in enumerate(train) if i % 10], train[::10]


def encoded(texts: Texts, ids: dict[str, int], labels: list[str]) -> tuple[Any, Any]:
    """Ids [texts, LENGTH], padded with 0, and classes [texts]."""
    x = np.zeros((len(texts), LENGTH), "int32")
    for row, (_, content) in enumerate(texts):
        known = [ids.get(word, 1) for word in content]
        x[row, : len(known)] = known
    return x, np.array([labels.index(label) for label, _ in texts])


def run(way: str, seed: int, rows: int, classes: int, data: Any, epochs: int) -> Any:
    """Accuracies and seconds after each epoch."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            SparseEmbedding(rows, 128, mask_zero=True, name="words"),
            keras.layers.LSTM(128),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    adam = keras.optimizers.Adam(1e-3)
    optimizer = adam if way == "dense" else Lazy(adam, "words/embeddings$", untouched=way)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    (x, y), held_out = data
    accuracies, seconds = [], []
    for _ in range(epochs):
        start = time.perf_counter()
        model.fit(x, y, batch_size=BATCH, verbose=0)
        seconds.append(time.perf_counter() - start)
        accuracies.append(model.evaluate(*held_out, batch_size=256, verbose=0)[1])
    return accuracies, np.cumsum(seconds).tolist()


def compare(name: str, options: Any) -> None:
    """All ways and seeds on one data set."""
    train, held_out = split(name, data_set(name, options.data))
    train = train[: options.limit or None]
    counts = Counter(word for _, content in train for word in content)
    kept = [word for word, count in counts.items() if count > 1]
    ids = {word: 2 + i for i, word in enumerate(kept)}
    labels = sorted({label for label, _ in [*train, *held_out]})
    data = encoded(train, ids, labels), encoded(held_out, ids, labels)
    print(f"{name}: {len(train)} texts, {len(held_out)} held out, {len(ids)} words")
    results: dict[str, list[Any]] = {way: [] for way in options.ways}
    for seed in range(options.seeds):
        for way in options.ways:
            found = options.runs(
                *(name, way, seed, options.epochs, options.limit),
                run=partial(run, way, seed, len(ids) + 2, len(labels), data, options.epochs),
            )
            results[way].append(found)
            print(f"  seed {seed} {way:<9}", *(f"{100 * one:.2f}" for one in found[0]), flush=True)
    for way, found in results.items():
        accuracies = 100 * np.array([one for one, _ in found])
        seconds = np.mean([two for _, two in found], axis=0)
        _print(way, accuracies.mean(0), accuracies.std(0, ddof=min(1, len(found) - 1)), seconds)


def _print(way: str, means: Any, spreads: Any, seconds: Any) -> None:
    triples = zip(means, spreads, seconds, strict=True)
    print(f"{way:<9}", "  ".join(f"{m:.2f} ± {s:.2f} ({t:.0f} s)" for m, s, t in triples))


def main() -> None:
    """Reads the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    option: Callable[..., Any] = parser.add_argument
    option("--data")
    option("--sets", nargs="+", default=["arxiv_cat16", "online_shopping_10_cats"])
    option("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    option("--seeds", type=int, default=5)
    option("--epochs", type=int, default=5)
    option("--limit", type=int, default=0, help="texts to train on; 0: all")
    option("--out", type=Path, help="where the results of finished runs are kept")
    options = parser.parse_args()
    options.runs = Remembered(options.out and options.out / "runs.jsonl")
    print(f"Keras {keras.__version__} on {keras.backend.backend()}")
    for name in options.sets:
        compare(name, options)


if __name__ == "__main__":
    main()
