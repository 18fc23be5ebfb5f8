"""Trains on one and on two replicas of `tf.distribute`, in a process of its own.

python -m tests.core.replicas     prints, by case, the weights and what the optimizer keeps, for one
                                  and for two replicas
"""

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.toys import Identity, Nothing, TableDescent, Trail, Window

LENGTHS = np.array([1, 5, 2, 4, 3, 5, 1, 1] * 2)[:, None]
IDS = np.random.default_rng(0).integers(1, 9, (16, 5)) * (np.arange(5) < LENGTHS)
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")
SUM = keras.losses.MeanSquaredError(reduction="sum")
TARGETS = IDS[..., None] / 9.0


def linear(optimizer: Any, loss: Any = "mse") -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, loss)
    return model


def tagger(optimizer: Any) -> keras.Model:
    table = keras.layers.Embedding(9, 4, mask_zero=True, name="table")
    model = keras.Sequential([keras.Input((5,), dtype="int32"), table, keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    return model


def own_step(optimizer: Any, loss: Any) -> keras.Model:
    return Identity().inject(linear(optimizer, loss))


def adam() -> Any:
    return keras.optimizers.Adam(0.1)


def descent() -> Any:
    return keras.optimizers.SGD(0.1)


Case = tuple[Callable[[], keras.Model], tuple[Any, Any], int]

# Of 15 examples in batches of 4, the last 3 are split into 2 + 1; of 13, the last one into 1 + 0.
# Keras itself cannot split the very first batch into unequal parts.
CASES: dict[str, Case] = {
    "nothing": (lambda: linear(Nothing(adam())), (X, Y), 16),
    "trail of window": (lambda: linear(Trail(Window(adam(), 2))), (X, Y), 16),
    "unequal parts": (lambda: linear(Trail(Window(descent(), 2))), (X, Y), 15),
    "an empty part": (lambda: own_step(descent(), "mse"), (X, Y), 13),
    "a sum": (lambda: own_step(descent(), SUM), (X, Y), 15),
    "masks": (lambda: tagger(Window(descent(), 2)), (IDS, TARGETS), 16),
    "rows": (lambda: tagger(Trail(TableDescent(descent(), 0.1))), (IDS, TARGETS), 15),
}


def trained(case: Case, strategy: Any) -> Any:
    make, (x, y), examples = case
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = make()
    model.fit(x[:examples], y[:examples], batch_size=4, epochs=2, shuffle=False, verbose=0)
    return [
        keras.ops.convert_to_numpy(v).tolist() for v in [*model.weights, *model.optimizer.variables]
    ]


def main(cases: dict[str, Case]) -> None:
    """Prints what becomes of each: a model, its data, and how many examples it is given."""
    (device,) = tf.config.list_physical_devices("CPU")
    configurations = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(device, configurations)
    one, two = (tf.distribute.MirroredStrategy(d) for d in (["CPU:0"], ["CPU:0", "CPU:1"]))
    print(
        json.dumps({name: [trained(case, s) for s in (one, two)] for name, case in cases.items()})
    )


if __name__ == "__main__":
    main(CASES)
