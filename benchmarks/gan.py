"""A GAN in one step, beside alternating training of the same networks.

    KERAS_BACKEND=jax python -m benchmarks.gan speed [--network mnist|64] [--repeats 3]

Each way in a process of its own, in turns; the time of a step is the median over epochs of `fit`
after the first, the memory is the highest resident set less that before the first step. On JAX also
the FLOPs of the compiled step. Both ways take one update of each player in a step. How good the
pictures are that come out: `benchmarks/gan_quality.py`.
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
        columns = [f"{name} {spread([run[name] for run in runs])}" for name in runs[0]]
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


def spread(values: Any) -> str:
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
    }
    for name, function in functions.items():
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("--batch", type=int, default=64)
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
