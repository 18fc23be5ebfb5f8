"""What does a GAN learn in the same time, in one step and alternating?

    KERAS_BACKEND=jax python -m benchmarks.gan_quality --data FOLDER [--seconds 300] [--seeds 3]
        [--clock wall|processor] [--folder gan_quality]

Both ways of `benchmarks/gan.py` train on MNIST for the same time, in turns of 50 steps, so that
what disturbs the machine disturbs both. On a machine that others use, `--clock processor` counts
the processor time of this process instead. The first step, which compiles, is not counted. Then
10,000 pictures are judged by a classifier that is trained here on the real ones:

- FID is the Fréchet distance (https://arxiv.org/abs/1706.08500) of its 64 hidden features, *not* of
  Inception's, to those of the test set: |m − m'|² + tr(C + C' − 2 (C C')^½), with means m and
  covariances C;
- "classes" is how many of the ten digits have a share of at least 2 %;
- "share" is the share of the rarest.

`--folder` keeps what is done, a line of JSON a seed, and grids of pictures; after it was killed,
the same command goes on with the next seed.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import data_set
from benchmarks.gan import LATENT, WAYS, made, spread

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
COLUMNS = ("steps", "FID", "classes", "share")
TURN = 50


def quality(options: argparse.Namespace) -> None:
    """Trains what is not done yet, then prints all."""
    import keras

    with np.load(data_set("mnist", options.data) / "mnist.npz") as arrays:
        images = pictures(arrays["x_train"][: options.images])
        labels = arrays["y_train"][: options.images]
        test, test_labels = pictures(arrays["x_test"]), arrays["y_test"]
    judge = Judge(images, labels, test, test_labels)
    print(f"classifier: {judge.accuracy:.2%} of the test set right", flush=True)
    options.folder.mkdir(parents=True, exist_ok=True)
    file = options.folder / "results.jsonl"
    for seed in range(options.seeds):
        if seed in finished(file):
            continue
        row = {"seed": seed, **results(seed, images, judge, options)}
        with file.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        print(row, flush=True)
        keras.utils.clear_session()
    rows = finished(file).values()
    print(f"{os.environ['KERAS_BACKEND']}, {options.seconds:.0f} s each ({options.clock})")
    for way in WAYS:
        columns = zip(COLUMNS, zip(*(row[way] for row in rows), strict=True), strict=True)
        print(f"{way:12} {'   '.join(f'{name} {spread(values)}' for name, values in columns)}")


def finished(file: Path) -> dict[int, dict[str, Any]]:
    """The rows of the seeds that are done."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {row["seed"]: row for row in rows}


def results(
    seed: int, images: np.ndarray, judge: "Judge", options: argparse.Namespace
) -> dict[str, list[float]]:
    """Both ways with one seed, judged; their pictures are written."""
    from kooler.callbacks.sample_images import tiled, write_png

    models = {way: made(way, "mnist", seed) for way in WAYS}
    steps = train({way: model for way, (model, _, _) in models.items()}, images, options)
    latent = np.random.default_rng(seed).normal(size=(options.judged, LATENT)).astype("float32")
    found = {}
    for way, (_, generator, _) in models.items():
        new = generator.predict(latent, batch_size=500, verbose=0)
        pixels = np.rint(np.clip(new[:64] * 127.5 + 127.5, 0, 255)).astype("uint8")
        write_png(options.folder / f"{way.replace(' ', '_')}_{seed}.png", tiled(pixels, (8, 8)))
        found[way] = [float(steps[way]), *judge(new)]
    return found


def train(
    models: dict[str, Any], images: np.ndarray, options: argparse.Namespace
) -> dict[str, int]:
    """In turns of some steps, until each model has had its time; says how many steps each took."""
    clock, size = CLOCKS[options.clock], options.batch * TURN
    spent, turns = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0)
    for model in models.values():
        model.fit(images[: options.batch], batch_size=options.batch, verbose=0)  # compiles
    while waiting := [way for way in models if spent[way] < options.seconds]:
        for way in waiting:
            start = turns[way] * size % (len(images) - size + 1)
            begin = clock()
            models[way].fit(images[start : start + size], batch_size=options.batch, verbose=0)
            spent[way] += clock() - begin
            turns[way] += 1
    return {way: count * TURN for way, count in turns.items()}


class Judge:
    """A classifier of digits, and the statistics of its features on real pictures."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
    ) -> None:
        import keras

        keras.utils.set_random_seed(0)
        layers = keras.layers
        inputs = keras.Input((28, 28, 1))
        x = layers.Conv2D(32, 3, 2, activation="relu")(inputs)
        x = layers.Flatten()(layers.Conv2D(64, 3, 2, activation="relu")(x))
        features = layers.Dense(64, activation="relu")(x)
        scores = layers.Dense(10)(features)
        model = keras.Model(inputs, scores)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss=loss, metrics=["accuracy"])
        model.fit(images, labels, batch_size=128, epochs=3, verbose=0)
        self.accuracy = model.evaluate(test, test_labels, batch_size=500, verbose=0)[1]
        self.model = keras.Model(inputs, [features, scores])
        self.real = moments(self.model.predict(test, batch_size=500, verbose=0)[0])

    def __call__(self, images: np.ndarray) -> tuple[float, float, float]:
        """FID, the number of digits that occur, and the share of the rarest."""
        features, scores = self.model.predict(images, batch_size=500, verbose=0)
        shares = np.bincount(scores.argmax(-1), minlength=10) / len(images)
        distance = frechet_distance(self.real, moments(features))
        return distance, float((shares >= 0.02).sum()), float(shares.min())


def frechet_distance(one: Any, other: Any) -> float:
    """Of two normal distributions, given as mean and covariance."""
    (mean, covariance), (other_mean, other_covariance) = one, other
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ other_covariance @ root)
    trace = np.trace(covariance) + np.trace(other_covariance)
    return float(((mean - other_mean) ** 2).sum() + trace - 2 * np.sqrt(np.maximum(mixed, 0)).sum())


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = features.astype("float64")
    return features.mean(0), np.cov(features, rowvar=False)


def pictures(images: np.ndarray) -> np.ndarray:
    """Between −1 and 1: [images, 28, 28, 1]."""
    scaled: np.ndarray = images[..., None].astype("float32") / 127.5 - 1.0
    return scaled


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--judged", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("gan_quality"))
    quality(parser.parse_args())


if __name__ == "__main__":
    main()
