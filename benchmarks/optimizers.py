"""What does each wrapper add to a training step, in time and memory, beside Keras and optax?

    KERAS_BACKEND=jax python -m benchmarks.optimizers [--rounds 9] [--steps 24] [--width 1024]
        [--ways plain Accumulate]

One model is trained with plain Adam, with each wrapper around it, and with what Keras has for the
same purpose, in turn, `rounds` times; on JAX the same network is also trained by optax, in one
jitted function that is given its buffers.  Printed for each way: the median processor time of a
step, the median over the rounds of its ratio to the plain step of the same round (Keras's Adam for
`fit`, optax.adam for optax) with the quartiles, and the memory of the optimizer's state.

Keras's `use_ema` is left out on JAX, where its second `fit` ends in an error
(`docs/upstream/ema_second_fit.py`).  An accumulating step is cheaper than a plain one where the
update is a large part of it: three of four do not compute any.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kooler.optimizers import (
    EMA,
    Accumulate,
    GradientTransform,
    LearningRateMultiplier,
    Lookahead,
    OptimizerWrapper,
    WeightAverage,
    transforms,
)

WINDOW = 4
PLAIN = "plain", "optax"  # what the others are compared with


def adam(**arguments: Any) -> Any:
    return keras.optimizers.Adam(1e-3, **arguments)


WAYS: dict[str, Callable[[], Any]] = {
    "plain": adam,
    "a wrapper that does nothing": lambda: OptimizerWrapper(adam()),
    "Accumulate": lambda: Accumulate(adam(), WINDOW),
    "  gradient_accumulation_steps": lambda: adam(gradient_accumulation_steps=WINDOW),
    "Lookahead, keep": lambda: Lookahead(adam()),
    "Lookahead, reset": lambda: Lookahead(adam(), on_sync="reset"),
    "Lookahead, pullback": lambda: Lookahead(adam(), on_sync="pullback"),
    "WeightAverage, one EMA": lambda: WeightAverage(adam(), EMA(0.999)),
    "  use_ema": lambda: adam(use_ema=True),
    "clip_by_global_norm": lambda: GradientTransform(adam(), transforms.clip_by_global_norm(1.0)),
    "  global_clipnorm": lambda: adam(global_clipnorm=1.0),
    "LearningRateMultiplier": lambda: LearningRateMultiplier(adam(), {"bias": 2.0}),
    "Lookahead(Accumulate)": lambda: Lookahead(Accumulate(adam(), WINDOW)),
}


def fitter(make: Callable[[], Any], data: Any, options: Any) -> tuple[Callable[[], None], int]:
    """A function that trains an epoch by `fit`; and the bytes of the optimizer's state."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(options.width, activation="relu") for _ in range(options.layers)]
    model = keras.Sequential([keras.Input((options.width,)), *layers, keras.layers.Dense(1)])
    model.compile(make(), loss="mse")

    def run() -> None:
        model.fit(*data, batch_size=options.batch, shuffle=False, verbose=0)

    run()  # compiles
    state = sum(np.prod(v.shape) * np.dtype(v.dtype).itemsize for v in model.optimizer.variables)
    return run, int(state)


def optax_ways() -> Iterator[tuple[str, Any, Callable[[Any], Any]]]:
    """Name, optimizer, and what makes its parameters from plain ones."""
    import optax

    def same(weights: Any) -> Any:
        return weights

    plain = optax.adam(1e-3)
    yield "optax", plain, same
    yield "optax.MultiSteps", optax.MultiSteps(plain, WINDOW), same
    synced = optax.LookaheadParams.init_synced
    yield "optax.lookahead", optax.lookahead(plain, 6, 0.5), synced
    yield "optax.lookahead, reset", optax.lookahead(plain, 6, 0.5, reset_state=True), synced
    yield "optax.clip_by_global_norm", optax.chain(optax.clip_by_global_norm(1.0), plain), same


def optax_runner(
    optimizer: Any, wrap: Callable[[Any], Any], data: Any, options: Any
) -> tuple[Callable[[], None], int]:
    """The same for optax: the whole step is one jitted function that is given its buffers."""
    import jax
    import jax.numpy as jnp
    import optax

    random = np.random.default_rng(0)
    sizes = [options.width] * (options.layers + 1) + [1]
    pairs = itertools.pairwise(sizes)
    weights = [
        (random.normal(size=s).astype("float32") / s[0] ** 0.5, np.zeros(s[1], "float32"))
        for s in pairs
    ]
    parameters = jax.tree.map(lambda array: jnp.array(array, copy=True), wrap(weights))

    def loss(weights: Any, x: Any, y: Any) -> Any:
        for kernel, bias in weights[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        return jnp.mean((x @ weights[-1][0] + weights[-1][1] - y) ** 2)

    def step(state: Any, x: Any, y: Any) -> Any:
        parameters, memory = state
        fast = getattr(parameters, "fast", parameters)
        value, gradients = jax.value_and_grad(loss)(fast, x, y)
        updates, memory = optimizer.update(gradients, memory, parameters)
        return (optax.apply_updates(parameters, updates), memory), value

    compiled = jax.jit(step, donate_argnums=0)
    memory = optimizer.init(parameters)
    own = [*jax.tree.leaves(memory), *jax.tree.leaves(getattr(parameters, "slow", None))]
    state = [(parameters, memory)]

    def run() -> None:
        for start in range(0, len(data[0]), options.batch):
            batch = [array[start : start + options.batch] for array in data]
            state[0], value = compiled(state[0], *batch)
        float(value)

    size = sum(leaf.size * leaf.dtype.itemsize for leaf in own)
    run()  # compiles
    return run, size


def milliseconds(run: Callable[[], None], steps: int) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start) / steps


def report(times: dict[str, list[float]], sizes: dict[str, int]) -> None:
    for name, own in times.items():
        plain = times[PLAIN[name.startswith("optax")]]
        ratios = [one / other for one, other in zip(own, plain, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"  {name:32}{statistics.median(own):8.2f} ms{middle:7.2f}x"
            f" ({low:.2f}, {high:.2f}){sizes[name] / 2**20:9.1f} MiB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--ways", nargs="+", help="only these (and plain); without optax")
    options = parser.parse_args()
    examples = options.batch * options.steps
    x = np.random.default_rng(0).normal(size=(examples, options.width)).astype("float32")
    data = x, np.ones((examples, 1), "float32")
    runs, sizes = {}, {}
    wanted = {"plain", *options.ways} if options.ways else {name.strip() for name in WAYS}
    if keras.backend.backend() == "jax":
        wanted.discard("use_ema")
    for name, make in WAYS.items():
        if name.strip() in wanted:
            runs[name], sizes[name] = fitter(make, data, options)
    if keras.backend.backend() == "jax" and not options.ways:
        for name, optimizer, wrap in optax_ways():
            runs[name], sizes[name] = optax_runner(optimizer, wrap, data, options)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            times[name].append(milliseconds(run, options.steps))
    print(
        f"{keras.backend.backend()}, {options.layers} layers of {options.width}, batch of "
        f"{options.batch}, windows of {WINDOW}, {options.rounds} rounds"
    )
    report(times, sizes)


if __name__ == "__main__":
    main()
