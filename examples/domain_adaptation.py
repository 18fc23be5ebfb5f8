"""Labels from one camera, pictures from another: features that cannot tell the two apart.

    KERAS_BACKEND=jax python examples/domain_adaptation.py [--strength 0.3] [--seeds 3]

Ten measurements of shape and four of colour. With the first camera, which has labels, colour tells
the class nearly by itself. The second camera has no labels, and its colour says nothing: all its
pictures are a little too red. A network trained on the first relies on what fails with the second.

Domain-adversarial training (Ganin and Lempitsky 2015, https://arxiv.org/abs/1409.7495) adds a head
that is to tell the cameras apart, and turns its gradient around before it reaches the features:

    features → class head                             both minimise the loss of the classes
    features → reverse_gradient → camera head         it minimises its loss, the features maximise

so that the features lose what differs between the cameras, and keep what tells the classes.
Printed: accuracy with the second camera, plain and with reversed gradients, mean over the seeds.
It is a game of two players: with a strength of 3, or cameras further apart, it does not settle.
"""

import argparse
import statistics

import keras
import numpy as np

from kooler.layers import reverse_gradient

SHAPES, COLOURS = 10, 4
BATCH = 64


def camera(count: int, first: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Measurements [count, 14] and classes [count, 1] of one of the two cameras."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, 2, size=(count, 1))
    signs = 2.0 * classes - 1.0
    shape = 0.6 * signs + random.normal(0.0, 1.0, size=(count, SHAPES))
    colour = (signs if first else 1.0) + random.normal(0.0, 0.7, size=(count, COLOURS))
    return np.concatenate([shape, colour], axis=1).astype("float32"), classes


def network(strength: float, rate: float, steps: int) -> keras.Model:
    """Features and two heads, compiled."""
    dense = keras.layers.Dense
    measurements = keras.Input((SHAPES + COLOURS,))
    features = dense(16, activation="relu")(measurements)
    heads = {
        "class": dense(1, name="class")(features),
        "camera": dense(1, name="camera")(reverse_gradient(features, strength)),
    }
    model = keras.Model(measurements, heads)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)  # a game settles as rates fall
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    model.compile(optimizer, loss={"class": loss, "camera": loss})
    return model


def run(strength: float, seed: int = 0, count: int = 1000, epochs: int = 12) -> float:
    """Trains, and gives the accuracy with the second camera.

    Args:
        strength: Of the reversed gradient; 0 is training without adaptation.
        seed: Of weights and data.
        count: How many examples of each camera.
        epochs: How long.
    """
    keras.utils.set_random_seed(seed)
    (first, classes), (second, _) = (
        camera(count, True, 2 * seed),
        camera(count, False, 2 * seed + 1),
    )
    is_first = np.repeat([[1.0], [0.0]], count, axis=0)
    unknown = np.zeros_like(classes)
    targets = {"class": np.concatenate([classes, unknown]).astype("float32"), "camera": is_first}
    weights = {"class": 2 * is_first[:, 0], "camera": np.ones(2 * count)}
    model = network(strength, rate=0.03, steps=epochs * 2 * count // BATCH)
    x = np.concatenate([first, second])
    model.fit(x, targets, sample_weight=weights, batch_size=BATCH, epochs=epochs, verbose=0)
    measured, classes = camera(4000, False, seed=12345)
    scores = keras.ops.convert_to_numpy(model(measured)["class"])
    return float(((scores > 0) == classes).mean())


def main() -> None:
    """Runs the example, without and with adaptation."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--strength", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name, strength in (("plain", 0.0), ("reversed gradients", options.strength)):
        found = [run(strength, seed) for seed in range(options.seeds)]
        print(
            f"{name:18} accuracy {statistics.mean(found):.3f} with the second camera "
            f"(seeds: {min(found):.3f} to {max(found):.3f})"
        )


if __name__ == "__main__":
    main()
