"""Adversarial training of a text classifier: its word vectors are perturbed, a line of code.

    KERAS_BACKEND=jax python examples/adversarial_text.py [--way fast] [--data FOLDER]

A bag of word vectors decides between two kinds of sentence. It is trained plainly and then with
one of

    fast      FastGradient: the perturbation that hurts most to first order
    projected ProjectedGradient: several smaller steps
    virtual   VirtualAdversarial: predictions must not change; needs no labels
    penalty   GradientPenalty: the gradient by the word vectors must be small

Without data the sentences are made here: words that speak for one side or the other, among words
that say nothing. With `--data` (or KOOLER_DATA) it is the data set `sst2`;
`benchmarks/adversarial.py` measures the gain there, over several seeds.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kooler.steps import FastGradient, GradientPenalty, ProjectedGradient, VirtualAdversarial

LENGTH = 40
WAYS: dict[str, Callable[[float], Any]] = {
    "fast": lambda epsilon: FastGradient("words", epsilon),
    "projected": lambda epsilon: ProjectedGradient("words", epsilon, step_size=0.4 * epsilon),
    "virtual": lambda epsilon: VirtualAdversarial("words", epsilon),
    "penalty": lambda epsilon: GradientPenalty("words", 0.5 * epsilon),
}
Part = tuple[np.ndarray, np.ndarray]


def made_sentences(count: int, seed: int) -> tuple[list[str], list[int]]:
    """Ten words each, one or two of which speak for the side of the sentence."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    sentences = []
    for label in labels:
        words = [f"word{random.zipf(1.5) % 300}" for _ in range(10)]
        for place in random.choice(10, 2, replace=False):
            side = label if random.random() < 0.85 else 1 - label
            words[place] = f"{['bad', 'good'][side]}{random.integers(40)}"
        sentences.append(" ".join(words))
    return sentences, labels.tolist()


def read_sentences(file: Path) -> tuple[list[str], list[int]]:
    """Sentences and labels from lines of `label TAB text`."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [text for _, text in rows], [int(label) for label, _ in rows]


def vocabulary(sentences: Iterable[str], least: int = 2) -> dict[str, int]:
    """Ids from 2 on for words that occur often enough; 0 is padding, 1 any other word."""
    counts = Counter(word for sentence in sentences for word in sentence.split())
    known = sorted(word for word, count in counts.items() if count >= least)
    return {word: index for index, word in enumerate(known, start=2)}


def encoded(sentences: list[str], labels: list[int], words: dict[str, int]) -> Part:
    """Ids [sentences, LENGTH], and labels [sentences, 1]."""
    ids = np.zeros((len(sentences), LENGTH), "int32")
    for row, sentence in zip(ids, sentences, strict=True):
        found = [words.get(word, 1) for word in sentence.split()[:LENGTH]]
        row[: len(found)] = found
    return ids, np.array(labels, "float32")[:, None]


def classifier(words: int, seed: int, width: int = 64) -> keras.Model:
    """A mean of word vectors, and a small network on it."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(words + 2, width, mask_zero=True, name="words"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(width, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    net.compile(keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=["accuracy"])
    return net


def accuracy(
    train: Part, dev: Part, words: int, *, way: str | None, epsilon: float, seed: int, epochs: int
) -> float:
    """The best accuracy on `dev` after any epoch."""
    net = classifier(words, seed)
    if way is not None:
        WAYS[way](epsilon).inject(net)
    history = net.fit(*train, batch_size=64, epochs=epochs, validation_data=dev, verbose=0).history
    return float(max(history["val_accuracy"]))


def main() -> None:
    """Trains and prints, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--way", choices=list(WAYS), default="fast")
    parser.add_argument("--epsilon", type=float, default=0.3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--data", help="the folder of the unpacked data set sst2")
    options = parser.parse_args()
    if options.data:
        parts = [read_sentences(Path(options.data) / f"{name}.tsv") for name in ("train", "dev")]
    else:
        parts = [made_sentences(1000, 1), made_sentences(1000, 2)]
    words = vocabulary(parts[0][0])
    train, dev = (encoded(*part, words) for part in parts)
    for way in (None, options.way):
        found = accuracy(
            train, dev, len(words), way=way, epsilon=options.epsilon, seed=0, epochs=options.epochs
        )
        print(f"{way or 'plain':10} accuracy {found:.4f}")


if __name__ == "__main__":
    main()
