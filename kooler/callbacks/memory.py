"""Memory in use: by this process, and on its first accelerator."""

import os
import sys
from pathlib import Path
from typing import Any

import keras


def memory_in_use() -> dict[str, int]:
    """Bytes by place; without what the system or the backend does not tell."""
    found = {"memory": _of_process(), "device": _on_device()}
    return {place: size for place, size in found.items() if size}


def _of_process() -> int:
    statistics = Path("/proc/self/statm")
    if not statistics.exists():  # only Linux has it
        return 0
    return int(statistics.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _on_device() -> int:
    backend = keras.backend.backend()
    module: Any = sys.modules.get(backend)
    if backend == "torch":
        return int(module.cuda.memory_allocated()) if module.cuda.is_available() else 0
    if backend == "jax":
        return int((module.local_devices()[0].memory_stats() or {}).get("bytes_in_use", 0))
    if not module.config.list_physical_devices("GPU"):
        return 0
    return int(module.config.experimental.get_memory_info("GPU:0")["current"])
