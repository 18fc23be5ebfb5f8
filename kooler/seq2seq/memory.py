"""Which error means that there was not enough memory; every backend has its own.

Python, NumPy     MemoryError
PyTorch           RuntimeError: … can't allocate memory …, CUDA out of memory
JAX               a RuntimeError that begins with RESOURCE_EXHAUSTED
TensorFlow        ResourceExhaustedError: OOM when allocating …, failed to allocate memory
"""

_SIGNS = (
    "resource_exhausted",
    "out of memory",
    "can't allocate memory",
    "oom when allocating",
    "failed to allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough."""
    if isinstance(error, MemoryError):
        return True
    return any(sign in str(error).lower() for sign in _SIGNS)
