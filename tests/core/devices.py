"""Trains on one device, and on two by `keras.distribution`, in a process of its own, on JAX.

python -m tests.core.devices     prints, by case, the weights that one device, two with the data
                                 shared out, and two with the weights shared out give, and how
                                 kernel and slot lie on them
"""

import json
import os
from collections.abc import Callable
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import keras
import numpy as np

from tests.toys import Identity, Nothing, Scanned, TableDescent, Trail, Window

IDS = np.random.default_rng(0).integers(0, 9, (16, 5))
X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = np.sum(X, axis=1, keepdims=True)


def dense(optimizer: Any) -> keras.Model:
    layers = [keras.layers.Dense(6, activation="tanh", name="hidden"), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer, "mse")
    return model


def tagger(optimizer: Any) -> keras.Model:
    table = keras.layers.Embedding(9, 4, name="table")
    layers = [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2, name="hidden")]
    model = keras.Sequential([keras.Input((5,), dtype="int32"), table, *layers])
    model.compile(optimizer, "mse")
    return model


def adam() -> Any:
    return keras.optimizers.Adam(0.05)


Case = tuple[Callable[[], keras.Model], Any]

CASES: dict[str, Case] = {
    "nothing": (lambda: dense(Nothing(adam())), X),
    "trail of window": (lambda: dense(Trail(Window(adam(), 2))), X),
    "own step": (lambda: Identity().inject(dense(adam())), X),
    "parts": (lambda: Scanned(2).inject(dense(adam())), X),
    "rows": (lambda: tagger(Trail(TableDescent(adam(), 0.1))), IDS),
}


def model_parallel() -> Any:
    mesh = keras.distribution.DeviceMesh((1, 2), ("data", "model"))
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*hidden/kernel"] = keras.distribution.TensorLayout((None, "model"))
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="data")


def trained(case: Case, distribution: Any) -> keras.Model:
    keras.distribution.set_distribution(distribution)
    keras.utils.set_random_seed(0)
    make, x = case
    model = make()
    model.fit(x, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model


def numbers(model: keras.Model) -> list[Any]:
    variables = [*model.weights, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable).tolist() for variable in variables]


def main(cases: dict[str, Case]) -> None:
    """Prints what becomes of each: a model, and its inputs."""
    distributions = (None, keras.distribution.DataParallel(), model_parallel())
    weights = {
        name: [numbers(trained(case, one)) for one in distributions] for name, case in cases.items()
    }
    model = trained(CASES["trail of window"], distributions[-1])
    kernel, slot = model.layers[0].kernel.value, model.optimizer.averages[0].value
    same = "same" if kernel.sharding == slot.sharding else str(slot.sharding)
    sharded = {"kernel": list(kernel.sharding.spec), "slot": same}
    print(json.dumps({"weights": weights, "sharded": sharded}))


if __name__ == "__main__":
    main(CASES)
