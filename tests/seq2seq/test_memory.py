"""A lack of memory is known by what each backend says of it, and nothing else is."""

import numpy as np
import pytest
from keras import ops

from kooler.seq2seq.memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 6 bytes."),
        RuntimeError("OOM when allocating tensor with shape[9,9]"),
    ],
)
def test_what_the_backends_say(error):
    assert is_out_of_memory(error)


def test_this_backend_says_one_of_it():
    with pytest.raises(Exception) as raised:  # each backend has its own
        ops.convert_to_numpy(ops.ones((1 << 22, 1 << 22), dtype="float32") + 1.0)

    assert is_out_of_memory(raised.value), raised.value


def test_other_errors_are_none():
    assert not is_out_of_memory(RuntimeError("shapes [2, 3] and [3, 4] do not fit"))
    assert not is_out_of_memory(np.linalg.LinAlgError("singular"))
