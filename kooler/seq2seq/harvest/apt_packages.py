"""The packages of a Debian machine: what is said of one at length → its synopsis.

The descriptions are those of the package lists, where `apt-get update` has fetched them, and of the
installed packages.  Nothing is downloaded.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kooler.seq2seq.harvest.record import Record

LISTS = Path("/var/lib/apt/lists")
STATUS = Path("/var/lib/dpkg/status")
_HELPER = "/usr/lib/apt/apt-helper"
_DESCRIPTION = re.compile(r"^Description(?:-en)?: (.*)\n((?: .*\n?)*)", re.MULTILINE)


def apt_records(lists: Path = LISTS, status: Path = STATUS) -> Iterator[Record]:
    """The packages that this machine knows.

    Args:
        lists: The folder of the package lists.
        status: The file of the installed packages.

    Raises:
        ValueError: If there is no description, say because this is no Debian machine.
    """
    texts = [_unpacked(path) for path in sorted(lists.glob("*Translation-en*"))]
    if status.is_file():
        texts.append(status.read_text("utf-8", errors="replace"))
    found = [match for text in texts for match in _DESCRIPTION.finditer(text)]
    if not found:
        raise ValueError(
            f"there is no description of a package in `{lists}` or `{status}`. On a Debian or "
            "Ubuntu machine `apt-get update` fetches them."
        )
    for match in found:
        yield Record(_paragraphs(match[2]), match[1])


def _paragraphs(text: str) -> str:
    """The long description: a line that holds only a stop divides paragraphs."""
    return re.sub(r"^ \.$", "", text, flags=re.MULTILINE)


def _unpacked(path: Path) -> str:
    """A list as text, whatever apt has packed it with."""
    if not path.suffix or path.name.endswith("Translation-en"):
        return path.read_text("utf-8", errors="replace")
    try:
        done = subprocess.run([_HELPER, "cat-file", str(path)], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode(errors="replace")
