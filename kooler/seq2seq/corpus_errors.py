"""What is wrong with a corpus, in words for one line: `FILE:LINE: problem`."""

from pathlib import Path


class CorpusError(ValueError):
    """Input that cannot be used; its message is one line, `FILE:LINE: problem`."""


class BadLine(Exception):
    """A line that cannot be used; the message is the problem, without file and line."""


class Damaged(Exception):
    """A file that cannot be read further; the message is the problem, without file and line."""


def shown(name: Path | str) -> str:
    """A file's name on one line, whatever characters it has."""
    text = str(name)
    return text if text.isprintable() else repr(text)


def unreadable(path: Path, error: OSError) -> str:
    """The message for a file that the system does not let us read."""
    return f"{shown(path)}: cannot be read: {error.strerror or error}."
