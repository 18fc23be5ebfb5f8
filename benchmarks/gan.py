"""A GAN in one step, beside alternating training of the same networks.

    KERAS_BACKEND=jax python -m benchmarks.gan speed [--network mnist|64] [--repeats 3]
    KERAS_BACKEND=jax python -m benchmarks.gan quality --data FOLDER [--seconds 300] [--seeds 3]

`speed`: each way in a process of its own, in turns; the time of a step is the median over epochs of
`fit` after the first, the memory is the highest resident set less that before the first step. On
JAX also the FLOPs of the compiled step. Both ways take one update of each player in a step.

`quality`: both ways train on MNIST for the same time, which begins after the first step. Then
10,000 pictures are judged by a classifier that is trained here on the real ones: FID is the
Fréchet distance (https://arxiv.org/abs/1706.08500) of its 64 hidden features, *not* of Inception's,
to those of the test set; "classes" is how many of the ten digits have a share of at least 2 %;
"share" is the smallest share. Grids of pictures go to --samples.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")

WAYS = ("one step", "alternating")
LATENT = 64


def players(network: str) -> tuple[Any, Any, tuple[int, ...]]:
    """Generator, discriminator and the shape of a picture; DCGAN-like."""
    import keras

    layers = keras.layers
    size, channels, widths = {"mnist": (28, 1, (32, 64)), "64": (64, 3, (32, 64, 128, 256))}[
        network
    ]
    small = size // 2 ** len(widths)
    inward, outward = [], []
    for width in widths:
        inward += [layers.Conv2D(width, 4, 2, "same"), layers.LeakyReLU(negative_slope=0.2)]
        inward += [layers.Dropout(0.2)]
    for width in widths[-2::-1]:
        outward += [layers.Conv2DTranspose(width, 4, 2, "same", use_bias=False)]
        outward += [layers.BatchNormalization(), layers.ReLU()]
    start = [layers.Dense(small * small * widths[-1]), layers.Reshape((small, small, widths[-1]))]
    last = layers.Conv2DTranspose(channels, 4, 2, "same", activation="tanh")
    shape = (size, size, channels)
    return (
        keras.Sequential([keras.Input((LATENT,)), *start, *outward, last]),
        keras.Sequential([keras.Input(shape), *inward, layers.Flatten(), layers.Dense(1)]),
        shape,
    )


def made(way: str, network: str, seed: int) -> tuple[Any, Any, tuple[int, ...]]:
    """A compiled model of one way, its generator, and the shape of a picture."""
    import keras

    from benchmarks.alternating_gan import AlternatingGAN
    from kooler.models import GAN

    keras.utils.set_random_seed(seed)
    generator, discriminator, shape = players(network)

    def optimizer() -> Any:
        return keras.optimizers.Adam(2e-4, beta_1=0.5)

    if way == "alternating":
        return AlternatingGAN(generator, discriminator, optimizer), generator, shape
    gan = GAN(generator, discriminator, "non_saturating")
    gan.compile(optimizer())
    return gan, generator, shape


class Clock:
    """Seconds of each epoch."""

    def __init__(self) -> None:
        import keras

        self.ends: list[float] = []
        on_end = lambda epoch, logs: self.ends.append(time.perf_counter())  # noqa: E731
        self.callback = keras.callbacks.LambdaCallback(on_epoch_end=on_end)

    def seconds(self) -> list[float]:
        """Of each epoch after the first."""
        return [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]


def measure(options: argparse.Namespace) -> None:
    """One way, in this process: prints what was measured as JSON."""
    model, _, shape = made(options.way, options.network, 0)
    images = np.zeros((options.batch * options.steps, *shape), "float32")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock = Clock()
    model.fit(
        images,
        batch_size=options.batch,
        epochs=options.epochs + 1,
        verbose=0,
        callbacks=[clock.callback],
    )
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "ms": 1e3 * statistics.median(clock.seconds()) / options.steps,
                "MiB": (after - before) / 1024,
                "GFLOP": flops(model, images[: options.batch]) / 1e9,
            }
        )
    )


def flops(model: Any, batch: np.ndarray) -> float:
    """Of the compiled step, on JAX; else 0."""
    import keras

    if keras.backend.backend() != "jax":
        return 0.0
    import jax

    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in variables] for variables in groups)
    compiled = jax.jit(model.train_step).lower(state, (batch,)).compile()
    return float(compiled.cost_analysis()["flops"])


def speed(options: argparse.Namespace) -> None:
    """Both ways in turns, each in a process of its own."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.repeats):
        for way in WAYS:
            found[way].append(_in_process(way, options))
    print(f"{os.environ['KERAS_BACKEND']}, network {options.network}, batch {options.batch}")
    for way, runs in found.items():
        columns = [f"{name} {_spread([run[name] for run in runs])}" for name in runs[0]]
        print(f"{way:12} {'   '.join(columns)}")
    for name in ("ms", "MiB", "GFLOP"):
        ours, theirs = (statistics.median(run[name] for run in found[way]) for way in WAYS)
        if ours:
            print(f"alternating / one step, {name}: {theirs / ours:.2f}")


def _in_process(way: str, options: argparse.Namespace) -> dict[str, float]:
    names = ("network", "batch", "steps", "epochs")
    settings = [word for name in names for word in (f"--{name}", str(getattr(options, name)))]
    command = [sys.executable, "-m", "benchmarks.gan", "measure", "--way", way, *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def quality(options: argparse.Namespace) -> None:
    """Both ways on MNIST, for the same time."""
    import keras

    from benchmarks.data import data_set
    from kooler.callbacks.sample_images import tiled, write_png

    with np.load(data_set("mnist", options.data) / "mnist.npz") as arrays:
        train, labels, test = (_pictures(arrays["x_train"]), arrays["y_train"], arrays["x_test"])
        test, test_labels = _pictures(test), arrays["y_test"]
    judge = Judge(train[: options.images], labels[: options.images], test, test_labels)
    print(f"classifier: {judge.accuracy:.2%} of the test set right")
    options.samples.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[tuple[float, ...]]] = {way: [] for way in WAYS}
    for seed in range(options.seeds):
        for way in WAYS if seed % 2 == 0 else WAYS[::-1]:
            model, generator, _ = made(way, "mnist", seed)
            steps = train_for(model, train[: options.images], options.seconds, options.batch)
            latent = np.random.default_rng(seed).normal(size=(options.judged, LATENT))
            images = generator.predict(latent.astype("float32"), batch_size=500, verbose=0)
            rows[way].append((float(steps), *judge(images)))
            pixels = np.rint(np.clip(images[:64] * 127.5 + 127.5, 0, 255)).astype("uint8")
            name = f"{way.replace(' ', '_')}_{seed}.png"
            write_png(options.samples / name, tiled(pixels, (8, 8)))
            print(seed, way, *(f"{value:.4g}" for value in rows[way][-1]), flush=True)
            keras.utils.clear_session()
    print(f"{os.environ['KERAS_BACKEND']}, {options.seconds:.0f} s each, {options.seeds} seeds")
    for way, runs in rows.items():
        columns = zip(("steps", "FID", "classes", "share"), zip(*runs, strict=True), strict=True)
        print(f"{way:12} {'   '.join(f'{name} {_spread(values)}' for name, values in columns)}")


def train_for(model: Any, images: np.ndarray, seconds: float, batch: int) -> int:
    """Trains for a time that begins after the first step; says how many steps were taken."""
    import keras

    begin, steps = [], [0]

    def on_batch_end(index: int, logs: Any) -> None:
        if not begin:
            begin.append(time.perf_counter())
        steps[0] += 1
        if time.perf_counter() - begin[0] > seconds:
            model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=on_batch_end)
    model.fit(images, batch_size=batch, epochs=10_000, verbose=0, callbacks=[callback])
    return steps[0]


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
        self.real = _moments(self.model.predict(test, batch_size=500, verbose=0)[0])

    def __call__(self, images: np.ndarray) -> tuple[float, float, float]:
        """FID, the number of digits that occur, and the share of the rarest."""
        features, scores = self.model.predict(images, batch_size=500, verbose=0)
        shares = np.bincount(scores.argmax(-1), minlength=10) / len(images)
        distance = frechet_distance(self.real, _moments(features))
        return distance, float((shares >= 0.02).sum()), float(shares.min())


def frechet_distance(one: Any, other: Any) -> float:
    """Of two normal distributions, given as mean and covariance."""
    (mean, covariance), (other_mean, other_covariance) = one, other
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ other_covariance @ root)
    trace = np.trace(covariance) + np.trace(other_covariance)
    return float(((mean - other_mean) ** 2).sum() + trace - 2 * np.sqrt(np.maximum(mixed, 0)).sum())


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    features = features.astype("float64")
    return features.mean(0), np.cov(features, rowvar=False)


def _pictures(images: np.ndarray) -> np.ndarray:
    pictures: np.ndarray = images[..., None].astype("float32") / 127.5 - 1.0
    return pictures


def _spread(values: Any) -> str:
    values = list(values)
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.4g} ± {spread:.2g}"


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    functions: dict[str, Callable[[argparse.Namespace], None]] = {
        "speed": speed,
        "measure": measure,
        "quality": quality,
    }
    for name, function in functions.items():
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("--batch", type=int, default=64)
        if name == "quality":
            command.add_argument("--data")
            command.add_argument("--seconds", type=float, default=300.0)
            command.add_argument("--seeds", type=int, default=3)
            command.add_argument("--images", type=int, default=60_000)
            command.add_argument("--judged", type=int, default=10_000)
            command.add_argument("--samples", type=Path, default=Path("gan_samples"))
            continue
        command.add_argument("--network", choices=("mnist", "64"), default="mnist")
        command.add_argument("--steps", type=int, default=20)
        command.add_argument("--epochs", type=int, default=5)
        if name == "speed":
            command.add_argument("--repeats", type=int, default=3)
        else:
            command.add_argument("--way", choices=WAYS, required=True)
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
