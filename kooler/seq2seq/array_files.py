"""Named arrays in safetensors files: whole or not there, and nothing in them is ever executed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from kooler.core.atomic import write_bytes

Arrays = dict[str, np.ndarray]
FORMAT = 1  # of these files and of a run directory; a newer one is refused


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Writes arrays and a few facts about them as one safetensors file, whole or not at all.

    Args:
        path: The file.
        arrays: Arrays by name.
        facts: What else belongs to them, as JSON knows it.

    Raises:
        OSError: If the file cannot be written, for example because the disk is full.
    """
    # one entry, for safetensors writes several in an order that changes from run to run
    metadata = {"kooler": json.dumps({"format": FORMAT, "facts": dict(facts)})}
    # safetensors writes the memory of an array as it lies there, so it must lie in order
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        write_bytes(path, save(ordered, metadata))
    except OSError as error:
        raise OSError(
            f"`{path}` could not be written ({error.strerror}). What was there is untouched."
        ) from error


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Reads a file of `write_arrays`.

    Args:
        path: The file.

    Returns:
        The arrays by name, and the facts.

    Raises:
        ValueError: If it is not such a file, is damaged, or a newer kooler wrote it.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            content = json.loads((file.metadata() or {}).get("kooler", "{}"))
            check_format(path, content.get("format"))
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, content["facts"]
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"`{path}` is damaged or no weights file: {error}. "
            "Remove it, and `kooler train --resume` goes on without it."
        ) from None


def check_format(path: Path, written: Any) -> None:
    """Raises ValueError if a file is of a newer format than this kooler knows, or of none."""
    if not str(written).isdecimal():
        raise ValueError(
            f"`{path}` has no format version, received format={written!r}. "
            "It must be a file that kooler wrote."
        )
    if int(written) > FORMAT:
        raise ValueError(
            f"`{path}` has format {written}, this kooler reads formats up to {FORMAT}. "
            "Install a newer kooler to use it."
        )


def check_finite(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises FloatingPointError, with the name, if an array holds an infinite number or none."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise FloatingPointError(f"`{name}` is no longer finite")
