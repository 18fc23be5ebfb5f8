"""The history of a git repository: what a commit says at length → its subject.

Left out are merges, reverts and fixups, the trailers (`Signed-off-by: …`), and the number of a pull
request behind a subject, which no reader of the body could know.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from kooler.seq2seq.harvest.record import Record

_FIELDS = 3
_FORMAT = "%ct%x00%s%x00%b%x00"
_TRAILER = re.compile(r"^(?:[A-Z][\w-]*(?:-[\w]+)*-by|Change-Id|Cc|Fixes|Closes|Refs?|Link|"
                      r"PiperOrigin-RevId|git-svn-id|Bug|Issue|Co-authored-by): ?.*$",
                      re.MULTILINE | re.IGNORECASE)  # fmt: skip
_NUMBER = re.compile(r"\s*\(#\d+\)$")
_MECHANICAL = re.compile(r"^(?:merge\b|revert\b|fixup!|squash!|wip\b|bump version)", re.IGNORECASE)


def git_records(path: Path) -> Iterator[Record]:
    """The commits of a repository, oldest first.

    Args:
        path: A folder in its work tree, or the repository itself.

    Raises:
        ValueError: If it is no repository, has no commit, or git is not installed.
    """
    for time, subject, body in _commits(path):
        target = _NUMBER.sub("", subject)
        if not _MECHANICAL.match(target):
            yield Record(_TRAILER.sub("", body), target, time)


def _commits(path: Path) -> Iterator[tuple[int, str, str]]:
    fields = _log(path).split("\0")
    for place in range(0, len(fields) - _FIELDS, _FIELDS):
        time, subject, body = fields[place : place + _FIELDS]
        yield int(time), subject, body


def _log(path: Path) -> str:
    command = ["git", "-C", str(path), "log", "--no-merges", "--reverse", f"--format={_FORMAT}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        raise ValueError("git is not installed, and reads the history.") from None
    if done.returncode:
        problem = done.stderr.decode(errors="replace").strip().splitlines() or ["no commit"]
        raise ValueError(f"git cannot read a history in `{path}` ({problem[0]}).")
    return done.stdout.decode(errors="replace")
