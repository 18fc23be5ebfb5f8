"""Random numbers that belong to the process: on PyTorch alone a training depends on them.

Keras gives each layer a seed of its own, which is saved with the model.  On PyTorch, however, a
`Dropout` without a seed draws from PyTorch's own generator, and every pass through a `DataLoader`
moves that on.  So whoever looks at a model in between, or continues a training, puts it back.
"""

import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def random_state() -> list[np.ndarray]:
    """The state of PyTorch's generators, that of the processor first; nothing elsewhere."""
    if keras.backend.backend() != "torch":
        return []
    torch: Any = sys.modules["torch"]
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return [np.array(state.numpy()) for state in (torch.get_rng_state(), *devices)]


def set_random_state(state: Sequence[np.ndarray]) -> None:
    """Puts a state back; of other devices than there are now, nothing."""
    if not state or keras.backend.backend() != "torch":
        return
    torch: Any = sys.modules["torch"]
    own, *devices = [torch.from_numpy(np.array(one, "uint8")) for one in state]
    torch.set_rng_state(own)
    if torch.cuda.is_available() and len(devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(devices)
