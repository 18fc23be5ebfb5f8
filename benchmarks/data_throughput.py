"""How many samples a second reach a loop, by `Stream` and by its peers?

    KERAS_BACKEND=torch python -m benchmarks.data_throughput [--workers 2] [--rounds 5] [--scale 1]
        [--workload small --workload heavy --workload large]

Three workloads, each a source of numbered samples:

    small   a row of 32 numbers; what counts is the cost around it
    heavy   about a millisecond of pure Python a sample
    large   an image of 256 × 256 × 3 in float32; what counts is the way of a batch to this process

They are read once through, in batches of 32, by `Stream`, PyTorch's `DataLoader`, grain,
`PyDataset` and tf.data, as far as installed. With `--workers 0` each reads in this process;
otherwise with so many processes, and tf.data with so many threads. All take turns, each round
beginning with another one. Printed: the median of the samples a second, the interval of all rounds,
and the ratio of `Stream` to each. The start of the workers counts not, where they are kept: a first
pass is read before. PyDataset starts its own for each epoch, as in `fit`.
"""

import argparse
import importlib.util
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.data_workloads import WORKLOADS  # no Keras up here: each worker comes by

BATCH = 32


def ours(source: Any, workers: int) -> Callable[[], Iterator[Any]]:
    """By `Stream`."""
    from kooler.data import Stream

    stream = Stream(source, batch_size=BATCH, workers=workers)
    return lambda: iter(stream)


def torch_loader(source: Any, workers: int) -> Callable[[], Iterator[Any]]:
    """By PyTorch's DataLoader, which keeps its workers and gives tensors."""
    from torch.utils.data import DataLoader

    more: dict[str, Any] = {}
    if workers:
        more = {"persistent_workers": True, "multiprocessing_context": "spawn"}
    loader: Any = DataLoader(source, BATCH, num_workers=workers, **more)
    return lambda: iter(loader)


def grain_loader(source: Any, workers: int) -> Callable[[], Iterator[Any]]:
    """By grain, whose workers ask for command line flags that somebody must have read."""
    import grain
    from absl import flags

    flags.FLAGS.mark_as_parsed()
    batches = grain.MapDataset.source(source).batch(BATCH)
    # By itself it reads 500 elements ahead, in each worker: 12 GB of batches of large images.
    ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    dataset = batches.repeat().to_iter_dataset(ahead)
    if workers:
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    endless = iter(dataset)  # a second one would start its workers anew

    def read() -> Iterator[Any]:
        list(itertools.islice(endless, 4 * max(1, workers)))  # read ahead while others had a turn
        return itertools.islice(endless, len(batches))

    return read


def py_dataset(source: Any, workers: int) -> Callable[[], Iterator[Any]]:
    """By Keras's PyDataset, within the adapter that `fit` puts around it."""
    import keras

    class Batches(keras.utils.PyDataset):
        def __len__(self) -> int:
            return -(-len(source) // BATCH)

        def __getitem__(self, index: int) -> Any:
            rows = range(index * BATCH, min((index + 1) * BATCH, len(source)))
            return tuple(map(np.stack, zip(*(source[row] for row in rows), strict=True)))

    data = Batches(workers=workers, use_multiprocessing=workers > 0)
    enqueued = keras.src.trainers.data_adapters.get_data_adapter(data)

    def read() -> Iterator[Any]:
        enqueued.on_epoch_begin()
        yield from enqueued.get_numpy_iterator()
        enqueued.on_epoch_end()

    return read


def tf_data(source: Any, workers: int) -> Callable[[], Iterator[Any]]:
    """By tf.data, whose threads call back into Python."""
    import tensorflow as tf

    first = source[0]
    kinds = [part.dtype for part in first]

    def read(index: Any) -> Any:
        parts = tf.numpy_function(lambda i: source[int(i)], [index], kinds)
        for part, known in zip(parts, first, strict=True):
            part.set_shape(known.shape)
        return tuple(parts)

    dataset = tf.data.Dataset.range(len(source)).map(read, num_parallel_calls=workers or None)
    dataset = dataset.batch(BATCH).prefetch(2 * workers)
    return lambda: dataset.as_numpy_iterator()


READERS = {
    "Stream": (ours, "kooler"),
    "DataLoader": (torch_loader, "torch"),
    "grain": (grain_loader, "grain"),
    "PyDataset": (py_dataset, "keras"),
    "tf.data": (tf_data, "tensorflow"),
}


def samples_a_second(make: Callable[[], Iterator[Any]], length: int) -> float:
    """Of one pass; all samples must come."""
    batches = make()
    start = time.perf_counter()
    received = sum(len(batch[0]) for batch in batches)
    seconds = time.perf_counter() - start
    if received != length:
        raise RuntimeError(f"{received} of {length} samples came.")
    return length / seconds


def compare(name: str, workers: int, rounds: int, scale: float) -> None:
    """Prints one line a reader, for one workload."""
    source = WORKLOADS[name](scale)
    installed = [key for key, (_, home) in READERS.items() if importlib.util.find_spec(home)]
    makers = {key: READERS[key][0](source, workers) for key in installed}
    for make in makers.values():
        samples_a_second(make, len(source))
    rates: dict[str, list[float]] = {key: [] for key in installed}
    for turn in range(rounds):
        for key in np.roll(installed, turn):
            rates[key].append(samples_a_second(makers[key], len(source)))
    for key, measured in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates["Stream"], measured, strict=True))
        print(
            f"{name:<8}{key:<12}{statistics.median(measured):12,.0f} samples/s"
            f"  ({min(measured):,.0f} to {max(measured):,.0f})   Stream is {ratio:5.2f} times",
            flush=True,
        )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Throughput of Stream and its peers.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--workload", action="append", choices=WORKLOADS)
    arguments = parser.parse_args()
    print(f"workers: {arguments.workers}; {arguments.rounds} rounds; batches of {BATCH}")
    for name in arguments.workload or WORKLOADS:
        compare(name, arguments.workers, arguments.rounds, arguments.scale)


if __name__ == "__main__":
    main()
