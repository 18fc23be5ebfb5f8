"""Flat minima: a small image task, with and without sharpness-aware minimisation.

    KERAS_BACKEND=jax python examples/sharpness.py [--examples 200] [--epochs 40] [--rho 0.1]

Noisy pictures of a horizontal, a vertical or a diagonal bar, few to train on and a fifth of them
with a wrong label: a task on which a network can learn everything by heart. It is trained twice
from the same weights, plainly and with `SharpnessAware`. Printed: accuracy on clean test pictures,
and how much the training loss rises at the worst point within a distance of 0.5, which is what SAM
keeps low.
"""

import argparse

import keras
import numpy as np

from kooler.steps import SharpnessAware

SIZE = 10
LOSS = "sparse_categorical_crossentropy"


def pictures(count: int, seed: int, wrong: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Bars in noise, and their kinds; some of the kinds are wrong."""
    random = np.random.default_rng(seed)
    kinds = random.integers(0, 3, count)
    images = random.normal(0.0, 0.5, (count, SIZE, SIZE, 1)).astype("float32")
    row, column = np.mgrid[:SIZE, :SIZE]
    for image, kind, place in zip(images, kinds, random.integers(1, SIZE - 1, count), strict=True):
        image[(row == place, column == place, (row + column) % SIZE == place)[kind]] += 1.5
    noisy = np.where(random.random(count) < wrong, random.integers(0, 3, count), kinds)
    return images, noisy


def network() -> keras.Model:
    """A small convolutional network, with the same weights each time."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    net.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss=LOSS, metrics=["accuracy"])
    return net


def rise(net: keras.Model, images: np.ndarray, kinds: np.ndarray, distance: float = 0.5) -> float:
    """How much the loss of trained weights grows within a distance, straight uphill."""
    start, before = net.get_weights(), net.evaluate(images, kinds, verbose=0)[0]
    probe = keras.models.clone_model(net)
    probe.set_weights(start)
    probe.compile(keras.optimizers.SGD(1.0), loss=LOSS)
    probe.train_on_batch(images, kinds)  # a step of rate 1 is the gradient
    uphill = [old - new for old, new in zip(start, probe.get_weights(), strict=True)]
    length = np.sqrt(sum(np.sum(part**2) for part in uphill))
    probe.set_weights([w + distance * part / length for w, part in zip(start, uphill, strict=True)])
    return float(probe.evaluate(images, kinds, verbose=0, return_dict=True)["loss"] - before)


def run(examples: int, epochs: int, rho: float) -> dict[str, tuple[float, float]]:
    """Test accuracy and rise of the loss, for each way to train."""
    train, test = pictures(examples, 1, wrong=0.2), pictures(1000, 2)
    results = {}
    for way, distance in (("plain", 0.0), ("sharpness aware", rho)):
        net = SharpnessAware(distance).inject(network())
        net.fit(*train, batch_size=32, epochs=epochs, verbose=0)
        results[way] = float(net.evaluate(*test, verbose=0)[1]), rise(net, *train)
    return results


def main() -> None:
    """Trains and prints, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--rho", type=float, default=0.1)
    options = parser.parse_args()
    results = run(options.examples, options.epochs, options.rho)
    for way, (accuracy, higher) in results.items():
        print(f"{way:16} accuracy {accuracy:.3f}, the loss rises by {higher:.4f} nearby")


if __name__ == "__main__":
    main()
