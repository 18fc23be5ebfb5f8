"""A training on disk: one file for each moment, whole or not there at all.

    {updates:08}.npz        model.i, optimizer.i, metrics.i: the variables in their order; random.i
                            facts: epoch, batch, updates, position of the data, score

Weights, optimizer and data position stand in one file, so they cannot be of different moments.  It
is written beside its place and takes it in one step (`core/atomic.py`): a kill or a full disk
leaves what was there.  Types that NumPy's files do not know, such as bfloat16, are widened, which
is exact.  Nothing in such a file is ever executed.
"""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from kooler.core.atomic import replacing

FORMAT = 1  # a newer one is refused
KNOWN_KINDS = "biufc"  # booleans and numbers, as NumPy's files know them

Groups = dict[str, list[np.ndarray]]


class Moment(NamedTuple):
    """What a file holds.

    Attributes:
        facts: Epoch, batch, updates, data, score: as JSON knows it.
        groups: Arrays of "model", "optimizer", "metrics" and "random".
    """

    facts: dict[str, Any]
    groups: Groups


def write_moment(path: Path, facts: dict[str, Any], variables: dict[str, Sequence[Any]]) -> None:
    """Writes the values of variables, by group, and the facts, whole or not at all.

    Raises:
        OSError: It cannot be written; what was there is untouched.
    """
    arrays: dict[str, Any] = {
        f"{group}.{index}": _plain(ops.convert_to_numpy(variable))
        for group, members in variables.items()
        for index, variable in enumerate(members)
    }
    arrays["facts"] = np.array(json.dumps({"format": FORMAT, **facts}))
    try:
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise OSError(
            f"The checkpoint `{path}` could not be written ({error.strerror}). Older ones are "
            "untouched: make room, and go on from the last of them with `restore`."
        ) from error


def read_facts(path: Path) -> dict[str, Any]:
    """The facts of a file alone; as fast for a large model as for a small one."""
    return _read(path, with_arrays=False).facts


def read_moment(path: Path) -> Moment:
    """Reads a file of `write_moment`.

    Raises:
        ValueError: It is damaged, no checkpoint, or a newer kooler wrote it.
    """
    return _read(path, with_arrays=True)


def moments_in(directory: Path) -> list[Path]:
    """The files in a directory, oldest first."""
    return sorted(path for path in directory.glob("*.npz") if path.stem.isdecimal())


def path_of(directory: Path, updates: int) -> Path:
    """Where the file of a moment belongs."""
    return directory / f"{updates:08}.npz"


def remove_parts(directory: Path) -> None:
    """Removes what killed processes left half written."""
    for part in directory.glob(".[0-9]*.npz.*"):
        part.unlink(missing_ok=True)


def _read(path: Path, *, with_arrays: bool) -> Moment:
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            groups: Groups = {}
            for name in file.files if with_arrays else ():
                if name != "facts":
                    groups.setdefault(name.partition(".")[0], []).append(file[name])
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise ValueError(
            f"`{path}` is damaged or no checkpoint of kooler: {error}. Remove it to go on from "
            "the one before."
        ) from None
    if facts.get("format", 0) > FORMAT:
        raise ValueError(
            f"`{path}` has format {facts['format']}, this kooler reads formats up to {FORMAT}. "
            "Install a newer kooler to use it."
        )
    return Moment(facts, groups)


def _plain(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind in KNOWN_KINDS else array.astype("float32")
