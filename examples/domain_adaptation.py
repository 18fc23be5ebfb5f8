"""Labels from one world, use in another: features that cannot tell the two apart.

    KERAS_BACKEND=jax python examples/domain_adaptation.py

In the first world two measurements tell a class: one is noisy, the other, nearly free of noise,
happens to work there only. In the second world it is always high, and nobody gives labels. A
network that is trained on the first world relies on what fails in the second.

Domain-adversarial training (https://arxiv.org/abs/1409.7495) adds a second head, which is to tell
the worlds apart, and turns its gradient around before it reaches the features:

    features → class head                 minimises the loss of the classes, on labelled examples
    features → reverse_gradient → world head      minimises its loss; the features maximise it

So the features lose what differs between the worlds. Printed: the accuracy in the second world.
"""

import argparse

import keras
import numpy as np

from kooler.layers import reverse_gradient


def world(count: int, first: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Measurements [count, 2] and classes [count, 1] of one of the two worlds."""
    random = np.random.default_rng(seed)
    classes = random.integers(0, 2, size=(count, 1))
    signs = 2.0 * classes - 1.0
    noisy = 1.5 * signs + random.normal(0.0, 1.0, size=(count, 1))
    clean = (2.0 * signs if first else 2.0) + random.normal(0.0, 0.3, size=(count, 1))
    return np.concatenate([noisy, clean], axis=1).astype("float32"), classes


def network(strength: float) -> keras.Model:
    """Features and two heads."""
    dense = keras.layers.Dense
    measurements = keras.Input((2,))
    features = dense(16, activation="tanh")(measurements)
    judged = dense(32, activation="relu")(reverse_gradient(features, strength))
    heads = {
        "class": dense(1, name="class")(features),
        "world": dense(1, name="world")(judged),
    }
    return keras.Model(measurements, heads)


def run(strength: float, count: int = 1024, epochs: int = 20) -> float:
    """Trains, and gives the accuracy in the second world.

    Args:
        strength: Of the turned gradient; 0 is training without adaptation.
        count: How many examples of each world. epochs: How long.
    """
    keras.utils.set_random_seed(0)
    (first, labels), (second, _) = world(count, True, 1), world(count, False, 2)
    is_first = np.repeat([[1.0], [0.0]], count, axis=0)
    targets = {"class": np.concatenate([labels, 0 * labels]).astype("float32"), "world": is_first}
    model = network(strength)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss={"class": loss, "world": loss})
    weights = {"class": 2 * is_first[:, 0], "world": np.ones(2 * count)}
    model.fit(
        np.concatenate([first, second]),
        targets,
        sample_weight=weights,
        batch_size=64,
        epochs=epochs,
        verbose=0,
    )
    examples, classes = world(2000, False, 3)
    scores = model.predict(examples, batch_size=2000, verbose=0)["class"]
    return float(((scores > 0) == classes).mean())


def main() -> None:
    """Runs the example, with and without."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--strength", type=float, default=1.0)
    strength = parser.parse_args().strength
    print(f"accuracy in the second world, plainly trained: {run(0.0):.1%}")
    print(f"with the gradient turned around:               {run(strength):.1%}")


if __name__ == "__main__":
    main()
