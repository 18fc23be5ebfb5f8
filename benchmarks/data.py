"""Where the benchmarks find their data: a folder of data sets, each a folder or a `.tar.xz` of one.

    python -m benchmarks.titles --data FOLDER          or  KOOLER_DATA=FOLDER

Data sets are files of `source TAB target` lines.
"""

import os
import sys
import tarfile
import tempfile
from pathlib import Path


def data_set(name: str, folder: str | None) -> Path:
    """The folder of one data set, unpacked if need be.

    Args:
        name: The name of the data set.
        folder: Where the data sets lie; None takes KOOLER_DATA.
    """
    chosen = folder or os.environ.get("KOOLER_DATA")
    if not chosen:
        sys.exit("Say where the data sets are: --data FOLDER, or KOOLER_DATA=FOLDER.")
    place = Path(chosen) / name
    if place.is_dir():
        return place
    archive = place.with_name(f"{name}.tar.xz")
    if not archive.is_file():
        sys.exit(f"{chosen} has neither a folder {name} nor {archive.name}.")
    unpacked = Path(tempfile.gettempdir()) / "kooler-data"
    if not (unpacked / name).is_dir():
        with tarfile.open(archive) as packed:
            packed.extractall(unpacked, filter="data")
    return unpacked / name
