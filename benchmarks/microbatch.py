"""What do 8 micro-batches a step cost: in our step, by Keras's accumulation, and as one batch?

    KERAS_BACKEND=jax python -m benchmarks.microbatch [--network dense] [--rounds 9] [--updates 3]

One network is trained by Adam three ways, each in a process of its own, with the same examples per
update:

    whole        one batch of parts × size examples
    microbatch   the same batch, `Microbatch(size)`
    keras        parts batches of `size` examples, `gradient_accumulation_steps=parts`

Printed for each: the median time of an update with its quartiles, how many times faster than
Keras's way, and the peak memory of the process above what it held before training. `dense` is all
weights (8 layers of 1024), `convolutional` all activations: there micro-batches save memory.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

WAYS = ("whole", "microbatch", "keras")


def network(name: str, width: int) -> tuple[Any, tuple[int, ...]]:
    """A network that is not compiled, and the shape of an example."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(0)
    if name == "dense":
        shape: tuple[int, ...] = (width,)
        body = [layers.Dense(width, activation="gelu") for _ in range(8)]
    else:
        shape = (32, 32, 3)
        convolutions = [layers.Conv2D(width // 16, 3, padding="same") for _ in range(8)]
        body = [part for one in convolutions for part in (one, layers.ReLU())]
        body.append(layers.GlobalAveragePooling2D())
    return keras.Sequential([keras.Input(shape), *body, layers.Dense(1)]), shape


def train(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of one update, and bytes of memory, in this process."""
    import keras
    import numpy as np

    from kooler.steps import Microbatch

    net, shape = network(options.network, options.width)
    steps = options.parts if way == "keras" else None
    net.compile(keras.optimizers.Adam(1e-3, gradient_accumulation_steps=steps), loss="mse")
    if way == "microbatch":
        Microbatch(options.size).inject(net)
    batch = options.size * (1 if way == "keras" else options.parts)
    x = np.random.default_rng(0).normal(
        size=(options.updates * options.parts * options.size, *shape)
    )
    x, y = x.astype("float32"), np.ones((len(x), 1), "float32")
    held = peak_memory()

    def seconds() -> float:
        start = time.perf_counter()
        net.fit(x, y, batch_size=batch, shuffle=False, verbose=0)
        return (time.perf_counter() - start) / options.updates

    seconds()  # compiles
    return {
        "seconds": [seconds() for _ in range(options.rounds)],
        "bytes": peak_memory() - held,
        "backend": keras.backend.backend(),
    }


def peak_memory() -> int:
    """The most bytes that this process has held so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_child(way: str) -> dict[str, Any]:
    """The same in a new process."""
    command = [sys.executable, "-m", "benchmarks.microbatch", *sys.argv[1:], "--way", way]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=("dense", "convolutional"), default="dense")
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--way", choices=WAYS, help="only this one, here, as JSON")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(train(options.way, options)))
        return
    found = {way: in_child(way) for way in WAYS}
    print(
        f"{found['keras']['backend']}, {options.network}, width {options.width}, "
        f"{options.parts} parts of {options.size} examples, {options.rounds} rounds"
    )
    keras_median = statistics.median(found["keras"]["seconds"])
    for way, one in found.items():
        low, middle, high = statistics.quantiles(one["seconds"], n=4)
        print(
            f"  {way:10} {1000 * middle:8.1f} ms an update (quartiles {1000 * low:.1f}, "
            f"{1000 * high:.1f})  {keras_median / middle:5.2f}x faster than keras"
            f"  {one['bytes'] / 2**20:7.1f} MiB"
        )


if __name__ == "__main__":
    main()
