"""A pair on its way into a corpus."""

from typing import NamedTuple


class Record(NamedTuple):
    """A text with its title.

    Attributes:
        source: The text.
        target: The title.
        time: When it was written, in seconds; 0 where that is unknown.
    """

    source: str
    target: str
    time: int = 0
