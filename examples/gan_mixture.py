"""Eight heaps of points on a circle: does a GAN find them all?

    KERAS_BACKEND=jax python examples/gan_mixture.py [--picture mixture.png]

The usual failure of a GAN is that its generator makes a few kinds of example only. On this mixture
of Gaussians one can count: a heap is found if at least one in forty of the generated points lies
within three standard deviations of its middle. Both players learn in one step of plain `fit`; R1
keeps them from circling around each other, and the average of the weights is what generates.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

from kooler.callbacks import averaged_weights
from kooler.models import GAN, R1Penalty
from kooler.optimizers import EMA, WeightAverage

SPREAD = 0.1
SHARE = 1 / 40


def middles(heaps: int) -> np.ndarray:
    """The middles of the heaps: [heaps, 2]."""
    angles = 2 * np.pi * np.arange(heaps) / heaps
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def points(count: int, heaps: int, seed: int = 0) -> np.ndarray:
    """Points of the mixture: [count, 2]."""
    random = np.random.default_rng(seed)
    noise = random.normal(0.0, SPREAD, size=(count, 2))
    return (middles(heaps)[random.integers(0, heaps, count)] + noise).astype("float32")


def network(inputs: int, outputs: int, width: int) -> keras.Model:
    """Two hidden layers."""
    dense = keras.layers.Dense
    hidden = [dense(width, activation="leaky_relu") for _ in range(2)]
    return keras.Sequential([keras.Input((inputs,)), *hidden, dense(outputs)])


def found(made: np.ndarray, heaps: int) -> int:
    """How many heaps have points near their middle."""
    distance = np.linalg.norm(made[:, None] - middles(heaps), axis=-1)  # [points, heaps]
    near = distance < 3 * SPREAD
    return int((near.mean(axis=0) >= SHARE).sum())


def run(heaps: int = 8, steps: int = 3000, width: int = 64) -> tuple[int, np.ndarray]:
    """Trains: how many heaps were found, and points that were made."""
    keras.utils.set_random_seed(0)
    generator, discriminator = network(8, 2, width), network(2, 1, width)
    gan = GAN(generator, discriminator, "non_saturating", penalty=R1Penalty(0.3, every=4))
    optimizer = keras.optimizers.Adam(2e-3, beta_1=0.0, beta_2=0.9)
    gan.compile(WeightAverage(optimizer, EMA(0.99)))
    gan.fit(points(256 * steps, heaps), batch_size=256, verbose=0)
    with averaged_weights(gan):
        made = gan.generate(2000, batch_size=2000, seed=0)
    return found(made, heaps), made


def draw(made: np.ndarray, heaps: int, path: Path) -> None:
    """Real points in grey, made ones in colour."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(4, 4), layout="constrained").add_subplot()
    axes.scatter(*points(2000, heaps).T, s=2, color="silver")
    axes.scatter(*made.T, s=2, color="tab:red")
    axes.figure.savefig(path)


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--heaps", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    count, made = run(options.heaps, options.steps)
    print(f"{count} of {options.heaps} heaps found")
    if options.picture:
        draw(made, options.heaps, options.picture)


if __name__ == "__main__":
    main()
