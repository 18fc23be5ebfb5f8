"""The loop seam before a step: where batches come from.

`stream` feeds Keras's trainers from anything that can be indexed and from functions that make
generators; `samples` says how samples become a batch, `passes` which batches make up an epoch.
`workers` computes ahead in spawned processes or in threads, for `stream` and for `parallel`.
`random_generator`, `shuffle` and `buckets` are for what is read from front to back; `interleave`
makes one source of several.

Only `stream` needs Keras, and is imported on first use: a worker process comes here too, and must
start without Keras and its backend.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kooler.data.buckets import Buckets, bucket_by_length
from kooler.data.interleave import Interleaved, interleave
from kooler.data.parallel import parallel_map
from kooler.data.sample_random import random_generator
from kooler.data.shuffle import shuffle_buffer

if TYPE_CHECKING:
    from kooler.data.stream import Stream

__all__ = [
    "Buckets",
    "Interleaved",
    "Stream",
    "bucket_by_length",
    "interleave",
    "parallel_map",
    "random_generator",
    "shuffle_buffer",
]


def __getattr__(name: str) -> Any:
    if name != "Stream":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = importlib.import_module("kooler.data.stream").Stream
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
