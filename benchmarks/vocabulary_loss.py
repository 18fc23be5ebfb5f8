"""What is a loss worth that never has all of its logits?  Time and memory, beside the plain one.

    KERAS_BACKEND=torch python -m benchmarks.vocabulary_loss [--precision bfloat16] [--rounds 7]

Losses and gradients of 8,192 slots of width 128 against 9,728 tokens, label smoothing 0.1; both
ways in turns in one process, one thread, medians of processor time.  The memory is that by which a
process of its own grew at its peak, compiling included, which only Linux tells.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

SLOTS, WIDTH, VOCABULARY, SMOOTHING = 8_192, 128, 9_728, 0.1


def plain(x: Any, table: Any, targets: Any) -> Any:
    """The mean smoothed loss, from all logits."""
    from keras import ops

    from kooler.seq2seq.model import reserved_mask
    from kooler.seq2seq.transformer import MASKED

    reserved = ops.convert_to_tensor(reserved_mask(VOCABULARY))
    logits = ops.cast(ops.matmul(x, ops.transpose(table)), "float32") + reserved * MASKED
    chosen = ops.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    mean = ops.matmul(logits, (1 - reserved)[:, None])[:, 0] / ops.sum(1 - reserved)
    nll = ops.logsumexp(logits, axis=-1) - chosen
    return ops.mean(nll + SMOOTHING * (chosen - mean))


def in_parts(x: Any, table: Any, targets: Any) -> Any:
    """The same, as kooler trains."""
    from keras import ops

    from kooler.seq2seq.vocabulary_loss import smoothed, vocabulary_sums

    sums = vocabulary_sums(x, table, targets)
    return ops.mean(smoothed(sums.nll, sums.mean, SMOOTHING))


WAYS: dict[str, Callable[..., Any]] = {"plain": plain, "in parts": in_parts}


def step(way: str, precision: str) -> Callable[[], Any]:
    """A function that makes loss and gradients once."""
    import keras
    import numpy as np
    from keras import ops

    from kooler.core.compiled import compiled
    from kooler.core.differentiate import differentiate

    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((SLOTS, WIDTH)).astype("float32")
    table = (generator.standard_normal((VOCABULARY, WIDTH)) * WIDTH**-0.5).astype("float32")
    targets = generator.integers(6, VOCABULARY, SLOTS).astype("int32")

    def losses(x: Any, table: Any, targets: Any) -> list[Any]:
        given = [ops.cast(tensor, precision) for tensor in (x, table)]
        (value, _), slopes = differentiate(lambda both: (WAYS[way](*both, targets), None), given)
        return [value, *(ops.cast(ops.convert_to_tensor(slope), "float32") for slope in slopes)]

    function = compiled(losses, [])
    return lambda: [ops.convert_to_numpy(part) for part in function(x, table, targets)]


def grown(way: str, precision: str) -> float:
    """MiB by which this process grew at its peak."""
    from benchmarks.decoding_memory import MIB, kilobytes

    run = step(way, precision)
    held = kilobytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
    run()
    return (kilobytes("VmHWM") - held) / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="float32", help="or bfloat16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--grown", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.grown:
        print(grown(given.grown, given.precision))
        return
    steps = {way: step(way, given.precision) for way in WAYS}
    for run in steps.values():
        run()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(given.rounds):
        for way, run in steps.items():
            began = time.process_time()
            run()
            seconds[way].append(time.process_time() - began)
    print(f"KERAS_BACKEND={os.environ['KERAS_BACKEND']}, {given.precision}")
    for way in WAYS:
        command = [sys.executable, "-m", "benchmarks.vocabulary_loss", "--grown", way]
        command += ["--precision", given.precision]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        memory = float(done.stdout.split()[-1])
        print(f"{way:10} {statistics.median(seconds[way]):6.2f} s  {memory:6,.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
