"""How much memory does decoding take?  The engines of the race, each in a process of its own.

    python -m benchmarks.decoding_memory --run RUN --text test.tsv [--sentences 256]

Printed is by how much the process grew at its peak while it translated, compiling included, above
what it held with the engine loaded; and again for the same sentences a second time, when everything
is compiled.  The peak is the kernel's (`VmHWM`), set back before each, so this needs Linux.
"""

import argparse
import itertools
import multiprocessing
import os
import re
from pathlib import Path

from benchmarks.decoding_race import BEAMS, contestants, parsed, parser_of

os.environ.setdefault("KERAS_BACKEND", "jax")

MIB = 1024  # of the kernel's kB


def main() -> None:
    given = parsed(parser_of(__doc__, (64, 1)))
    for batch, beam in itertools.product(given.batches, BEAMS):
        print(f"\nbatch {batch}, beam {beam}: MiB more at the peak, and once compiled", flush=True)
        for name in given.engines:
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                first, again = fresh.apply(growth, (given, name, batch, beam))
            print(f"  {name:17}{first / MIB:9,.0f} {again / MIB:9,.0f}", flush=True)


def growth(given: argparse.Namespace, name: str, batch: int, beam: int) -> tuple[int, int]:
    """By how many kB this process grows when the engine translates, and when it does so again."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # before any backend starts
    import torch

    torch.set_num_threads(1)
    given.engines = [name]
    engines, rows = contestants(given)
    grown = []
    for _ in range(2):
        held = kilobytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
        engines[name](rows, beam, batch)
        grown.append(kilobytes("VmHWM") - held)
    return grown[0], grown[1]


def kilobytes(field: str) -> int:
    """A line of what the kernel tells of this process."""
    status = Path("/proc/self/status").read_text("utf-8")
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    if not found:
        raise RuntimeError(f"the kernel tells no {field} of this process")
    return int(found[1])


if __name__ == "__main__":
    main()
