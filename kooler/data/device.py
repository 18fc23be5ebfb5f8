"""Batches on their way to an accelerator while the step before them runs.

| backend    | how a batch is sent                                                             |
|------------|---------------------------------------------------------------------------------|
| JAX        | `jax.device_put`, which returns before the copy is done; with                   |
|            | `keras.distribution` Keras sends, each device its part                          |
| PyTorch    | pinned memory, and a copy to the GPU that nobody waits for                      |
| TensorFlow | by its own step: what `prefetch_to_device` has drawn when `fit` ends, at a step |
|            | before the end of an epoch, would be lost                                       |

On a CPU nothing is sent, and nothing is drawn ahead.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Send = Callable[[Any], Any]


def sender() -> Send | None:
    """What puts a batch on the accelerator that Keras trains on; None if it need not be sent."""
    by_backend = {"jax": _sender_of_jax, "torch": _sender_of_torch}
    return by_backend.get(keras.backend.backend(), lambda: None)()


def send_by_jax(batch: Any) -> Any:
    """The batch, as arrays that are being copied."""
    import jax

    return keras.tree.map_structure(jax.device_put, batch)


def send_by_torch(batch: Any, device: Any) -> Any:
    """The batch, as tensors that are being copied; Keras converts what PyTorch has no type for.

    Args:
        batch: A nest of NumPy arrays.
        device: A `torch.device`.
    """
    import torch

    def send(array: Any) -> Any:
        if not isinstance(array, np.ndarray) or array.dtype.name not in _COMMON:
            return array
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        held = tensor.pin_memory() if device.type == "cuda" else tensor
        return held.to(device, non_blocking=True)

    return keras.tree.map_structure(send, batch)


def _sender_of_jax() -> Send | None:
    import jax

    if jax.default_backend() == "cpu" or keras.distribution.distribution() is not None:
        return None
    return send_by_jax


def _sender_of_torch() -> Send | None:
    import torch

    if not torch.cuda.is_available():
        return None
    device = keras.ops.zeros(()).device  # where Keras puts tensors now
    return (lambda batch: send_by_torch(batch, device)) if device.type == "cuda" else None


_COMMON = {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}
