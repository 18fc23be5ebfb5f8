"""Trains on two replicas of `tf.distribute`, in a process of its own, and prints the weights.

python -m tests.core.replicas <wrapper> <replicas>
"""

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.toys import Nothing, Trail, Window

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")
OPTIMIZERS = {
    "plain": lambda inner: inner,
    "nothing": Nothing,
    "trail": Trail,
    "window": lambda inner: Window(inner, 2),
    "trail of window": lambda inner: Trail(Window(inner, 2)),
}


def main(wrapper: str, replicas: str) -> None:
    (device,) = tf.config.list_physical_devices("CPU")
    configurations = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(device, configurations)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(int(replicas))])
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        optimizer: Any = OPTIMIZERS[wrapper](keras.optimizers.Adam(0.1))
        model.compile(optimizer, "mse")
    model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    print(json.dumps([weights.tolist() for weights in model.get_weights()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
