"""Handwritten digits from a GAN that trains both players in one step.

    KERAS_BACKEND=jax python examples/gan_mnist.py mnist.npz [--epochs 10] [--samples samples]

`mnist.npz` is the file that `keras.datasets.mnist` loads. After each epoch two grids of pictures
are written: of the generator as it is, and of the average of its weights, which is smoother.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

from kooler.callbacks import SampleImages
from kooler.models import GAN, R1Penalty
from kooler.optimizers import EMA, WeightAverage

LATENT = 64


def digits(path: Path) -> np.ndarray:
    """The pictures of the training set, from −1 to 1: [60000, 28, 28, 1]."""
    with np.load(path) as arrays:
        return arrays["x_train"][..., None].astype("float32") / 127.5 - 1.0


def players(width: int) -> tuple[keras.Model, keras.Model]:
    """A generator with BatchNorm and a discriminator with dropout, for pictures [28, 28, 1]."""
    layers = keras.layers
    generator = keras.Sequential(
        [
            keras.Input((LATENT,)),
            layers.Dense(7 * 7 * 2 * width),
            layers.Reshape((7, 7, 2 * width)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2DTranspose(width, 4, 2, "same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2DTranspose(1, 4, 2, "same", activation="tanh"),
        ]
    )
    discriminator = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(width, 4, 2, "same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Dropout(0.3),
            layers.Conv2D(2 * width, 4, 2, "same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    return generator, discriminator


def run(
    images: np.ndarray,
    samples: Path,
    *,
    epochs: int,
    width: int = 32,
    grid: tuple[int, int] = (8, 8),
) -> GAN:
    """Trains, and writes pictures of each epoch into a directory."""
    keras.utils.set_random_seed(0)
    generator, discriminator = players(width)
    gan = GAN(generator, discriminator, "non_saturating", penalty=R1Penalty(1.0, every=16))
    optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
    gan.compile(WeightAverage(optimizer, EMA(0.995)))
    callbacks = [SampleImages(generator, samples, grid=grid)]
    gan.fit(images, batch_size=64, epochs=epochs, verbose=2, callbacks=callbacks)
    return gan


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="mnist.npz")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=Path, default=Path("samples"))
    options = parser.parse_args()
    gan = run(digits(options.data), options.samples, epochs=options.epochs)
    gan.save(options.samples / "gan.keras")


if __name__ == "__main__":
    main()
