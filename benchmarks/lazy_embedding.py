"""How long does a training step take when only the touched rows of an embedding are updated?

    KERAS_BACKEND=jax python -m benchmarks.lazy_embedding [--rows 10000 1000000]
        [--ids 1024 65536] [--law uniform zipf] [--untouched freeze catch_up] [--rounds 15]
        [--clock processor] [--only-lazy]

A table of `rows` × 64, the mean of 32 rows an example, a dense layer on top, Adam. Three ways take
turns in one process, each time some steps, each round beginning with another one:

    dense         keras.layers.Embedding and Keras's Adam
    lazy          kooler's SparseEmbedding and Lazy(Adam)
    SparseAdam    plain PyTorch: Embedding(sparse=True) and torch.optim.SparseAdam

Printed, in milliseconds: the median of a step, the median over the rounds of the ratios dense /
lazy and lazy / SparseAdam, and by how much the process grew at its peak: see the first line of a
process, behind which later ones hide. Where other programs run, `--clock processor` with one thread
counts what the process itself did. A table and Adam's two slots of 10 million rows take 7.7 GB in
each of the ways: above `--others-up-to` rows only the lazy one is measured, and the line says so.

With `--only-lazy`, lazy tables of all sizes take turns with one another instead, and printed is how
many times as long as the first of them each takes.

A plain PyTorch step has none of Keras's work around it. On PyTorch, therefore, a second line has
the update alone: `Lazy.apply` and `SparseAdam.step`, given the same gradients of the same rows.
"""

import argparse
import gc
import resource
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kooler.core.batch import Batch, Rows, applying
from kooler.layers import SparseEmbedding
from kooler.optimizers import Lazy

WIDTH, LENGTH = 64, 32
Run = Callable[[], None]


def batches(rows: int, ids: int, law: str, count: int = 8) -> list[tuple[Any, Any]]:
    """Batches with so many look-ups each."""
    random = np.random.default_rng(0)
    shape = (count, max(ids // LENGTH, 1), LENGTH)
    drawn = random.random(shape)
    places = drawn * rows if law == "uniform" else np.exp(drawn * np.log(rows))  # density ∝ 1/rank
    x = np.minimum(places, rows - 1).astype("int32")
    return [(one, random.normal(size=(len(one), 1)).astype("float32")) for one in x]


def by_keras(data: Any, rows: int, make: Any, optimizer: Any) -> Run:
    """Steps of a compiled Keras model, which waits for each result."""
    table = make(rows, WIDTH, embeddings_initializer="zeros", name="table")
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            table,
            keras.layers.GlobalAveragePooling1D(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, loss="mse")
    return _in_turn(data, lambda x, y: float(model.train_on_batch(x, y)))


def by_torch(data: Any, rows: int) -> Run:
    """The same step in plain PyTorch with SparseAdam for the table."""
    import torch

    table = torch.nn.Embedding(rows, WIDTH, sparse=True)
    head = torch.nn.Linear(WIDTH, 1)
    sparse = torch.optim.SparseAdam(table.parameters(), lr=1e-3)
    dense = torch.optim.Adam(head.parameters(), lr=1e-3)

    def step(x: Any, y: Any) -> float:
        loss = (head(table(torch.from_numpy(x).long()).mean(1)) - torch.from_numpy(y)).square()
        sparse.zero_grad()
        dense.zero_grad()
        loss.mean().backward()
        sparse.step()
        dense.step()
        return float(loss.mean().detach())

    return _in_turn(data, step)


def updates(data: Any, rows: int, untouched: str) -> dict[str, Run]:
    """The update of the table alone, on PyTorch, without model, loss and backward pass."""
    import torch

    ours = keras.Variable(np.zeros((rows, WIDTH), "float32"), name="embeddings")
    lazy = Lazy(keras.optimizers.Adam(1e-3), "embeddings$", untouched=untouched)
    lazy.build([ours])
    theirs = torch.nn.Parameter(torch.zeros(rows, WIDTH))
    sparse = torch.optim.SparseAdam([theirs], lr=1e-3)
    ids = [torch.from_numpy(x).flatten() for x, _ in data]
    gradients = [torch.randn(len(one), WIDTH) for one in ids]

    batches = [Batch(1, rows={id(ours): Rows(*one)}) for one in zip(ids, gradients, strict=True)]
    tensors = [
        torch.sparse_coo_tensor(one[None].long(), gradient, theirs.shape, check_invariants=False)
        for one, gradient in zip(ids, gradients, strict=True)
    ]

    def step(batch: Any, gradient: Any) -> None:
        if batch is not None:
            with torch.no_grad(), applying(batch):
                lazy.apply([], [])
            return
        theirs.grad = gradient
        sparse.step()

    return {
        "lazy": _in_turn([(one, None) for one in batches], step),
        "SparseAdam": _in_turn([(None, one) for one in tensors], step),
    }


def measure(ways: dict[str, Run], options: Any) -> dict[str, list[float]]:
    """Milliseconds of a step, one number a round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        for _ in range(3):
            run()
    clock = time.process_time if options.clock == "processor" else time.perf_counter
    for number in range(options.rounds):
        order = list(ways)
        for name in order[number % len(order) :] + order[: number % len(order)]:
            start = clock()
            for _ in range(4):
                ways[name]()
            times[name].append((clock() - start) * 250)
    return times


def compare(rows: int, ids: int, law: str, untouched: str, options: Any) -> None:
    """Measures one size, and prints a line."""
    data = batches(rows, ids, law)
    ways: dict[str, Run] = {}
    grown = {}
    makers: dict[str, Callable[[], Run]] = {"lazy": lambda: lazily(data, rows, untouched)}
    if rows <= options.others_up_to:
        makers["SparseAdam"] = lambda: by_torch(data, rows)
        makers["dense"] = lambda: by_keras(
            data, rows, keras.layers.Embedding, keras.optimizers.Adam(1e-3)
        )
    for name, make in makers.items():
        before = _peak()
        ways[name] = make()
        ways[name]()
        grown[name] = _peak() - before
    times = measure(ways, options)
    medians = "  ".join(
        f"{name} {np.median(times[name]):8.2f} ms {grown[name]:6.0f} MB" for name in ways
    )
    ratios = "the others do not fit into memory"
    if "dense" in times:
        ratios = f"{_ratio(times, 'lazy', 'SparseAdam')}  {_ratio(times, 'dense', 'lazy')}"
    print(f"{_title(rows, ids, law, untouched)} {medians}  {ratios}", flush=True)
    if keras.backend.backend() == "torch" and "dense" in times:
        times = measure(updates(data, rows, untouched), options)
        medians = "  ".join(f"{name} {np.median(one):8.2f} ms" for name, one in times.items())
        print(f"{'the update alone:':>41} {medians}  {_ratio(times, 'lazy', 'SparseAdam')}")


def compare_sizes(ids: int, law: str, untouched: str, options: Any) -> None:
    """Measures lazy tables of all sizes in turn, and prints a line for each."""
    ways, grown = {}, {}
    for rows in options.rows:
        before = _peak()
        ways[str(rows)] = lazily(batches(rows, ids, law), rows, untouched)
        ways[str(rows)]()
        grown[str(rows)] = _peak() - before
    times = measure(ways, options)
    for name, one in times.items():
        print(
            f"{_title(int(name), ids, law, untouched)} lazy {np.median(one):8.2f} ms"
            f" {grown[name]:6.0f} MB  {_ratio(times, name, str(options.rows[0]))}",
            flush=True,
        )


def lazily(data: Any, rows: int, untouched: str) -> Run:
    """Steps of a model whose table is lazy."""
    inner = keras.optimizers.Adam(1e-3)
    optimizer = Lazy(inner, "embeddings$", untouched=untouched)
    return by_keras(data, rows, SparseEmbedding, optimizer)


def _title(rows: int, ids: int, law: str, untouched: str) -> str:
    return f"{rows:>9} rows {ids:>6} ids {law:<8}{untouched:<9}"


def _in_turn(data: Any, step: Callable[[Any, Any], Any]) -> Run:
    state = {"next": 0}

    def run() -> None:
        step(*data[state["next"] % len(data)])
        state["next"] += 1

    return run


def _ratio(times: dict[str, list[float]], above: str, below: str) -> str:
    return f"{above}/{below} {np.median(np.divide(times[above], times[below])):.2f}"


def _forget() -> None:
    """Or the tables of all sizes add up."""
    keras.utils.clear_session()
    gc.collect()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Reads the options, and measures every combination."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 200_000, 1_000_000])
    parser.add_argument("--ids", type=int, nargs="+", default=[1024, 4096, 16384, 65536])
    parser.add_argument("--law", nargs="+", default=["uniform", "zipf"])
    parser.add_argument("--untouched", nargs="+", default=["freeze"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--others-up-to", type=int, default=1_000_000)
    parser.add_argument("--only-lazy", action="store_true")
    options = parser.parse_args()
    print(f"Keras {keras.__version__} on {keras.backend.backend()}")
    for law in options.law:
        for untouched in options.untouched:
            for ids in options.ids:
                if options.only_lazy:
                    compare_sizes(ids, law, untouched, options)
                for rows in () if options.only_lazy else options.rows:
                    compare(rows, ids, law, untouched, options)
                    _forget()
                _forget()


if __name__ == "__main__":
    main()
