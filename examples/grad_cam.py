"""Where does a network look?  Grad-CAM for a network that is told nothing about places.

    KERAS_BACKEND=jax python examples/grad_cam.py [--picture grad_cam.png]

A small convolutional network learns to tell pictures with a bright cross somewhere from pictures
with a bright ring.  Its labels say which, never where.  Grad-CAM (https://arxiv.org/abs/1610.02391)
asks where the evidence lies: the activations A of a convolution, each channel weighted by how much
the class score y depends on it,

    map = relu( Σ_k a_k · A_k ),    a_k = mean over places of ∂y/∂A_k.

Both come from the trained model, which is neither rebuilt nor changed.  Printed: how often the
brightest spot of the map lies on the figure.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

from kooler.models import Capture

SIZE = 16
HALF = 3
LAYER = "features"


def pictures(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with a cross (class 0) or a ring (class 1): pictures, classes, centres."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, 2, count)
    centres = random.integers(HALF, SIZE - HALF, (count, 2))
    row, column = np.mgrid[:SIZE, :SIZE]
    images = random.normal(0.0, 0.3, (count, SIZE, SIZE, 1)).astype("float32")
    for image, kind, (y, x) in zip(images, classes, centres, strict=True):
        far = np.maximum(abs(row - y), abs(column - x))
        cross = ((row == y) | (column == x)) & (far < HALF)
        image[cross if kind == 0 else far == HALF - 1] += 1.5
    return images, classes, centres


def network() -> keras.Model:
    """Two convolutions and a mean over all places."""
    convolve = keras.layers.Conv2D
    return keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 1)),
            convolve(8, 3, padding="same", activation="relu"),
            convolve(12, 5, padding="same", activation="relu", name=LAYER),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Dense(2),
        ]
    )


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The maps of the pictures for the given classes: [count, SIZE, SIZE]."""
    capture = Capture(model, LAYER)
    activations = capture.predict(images, verbose=0)[LAYER]  # [count, SIZE, SIZE, channels]
    gradients = sum(
        capture.gradients(images, lambda values, kind=kind: values["output"][:, kind])[LAYER]
        * (classes == kind)[:, None, None, None]
        for kind in (0, 1)
    )
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * activations).sum(-1), 0.0)


def hits(maps: np.ndarray, centres: np.ndarray) -> float:
    """How often the brightest spot of a map lies on the figure."""
    flat = maps.reshape(len(maps), -1).argmax(-1)
    spots = np.stack(np.unravel_index(flat, maps.shape[1:]), -1)
    return float((abs(spots - centres).max(-1) <= HALF).mean())


def run(count: int = 512, epochs: int = 6) -> tuple[float, float, tuple[np.ndarray, np.ndarray]]:
    """Trains and explains: the accuracy, the hits, and four pictures with their maps."""
    keras.utils.set_random_seed(0)
    model = network()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss=loss, metrics=["accuracy"])
    images, classes, _ = pictures(count)
    model.fit(images, classes, epochs=epochs, verbose=0)
    images, classes, centres = pictures(128, seed=1)
    accuracy = model.evaluate(images, classes, verbose=0)[1]
    maps = grad_cam(model, images, classes)
    return float(accuracy), hits(maps, centres), (images[:4, ..., 0], maps[:4])


def draw(images: np.ndarray, maps: np.ndarray, path: Path) -> None:
    """The pictures above, their maps below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * len(images), 4), layout="constrained")
    for number, picture in enumerate([*images, *maps]):
        axes = figure.add_subplot(2, len(images), number + 1)
        axes.imshow(picture, cmap="gray" if number < len(images) else "inferno")
        axes.set_axis_off()
    figure.savefig(path)


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    accuracy, found, examples = run()
    print(f"{accuracy:.0%} of the pictures are told apart; the map finds the figure in {found:.0%}")
    if options.picture:
        draw(*examples, options.picture)


if __name__ == "__main__":
    main()
