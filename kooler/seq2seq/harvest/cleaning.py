"""From records to clean ones: one line each, neither too short nor too long, nothing twice."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kooler.seq2seq.harvest.record import Record

_SPACE = re.compile(r"\s+")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


class Bounds(NamedTuple):
    """Which pairs are kept, counted in characters so that Chinese ones are treated alike."""

    source_least: int = 40
    source_most: int = 4000  # what follows is cut
    target_least: int = 8
    target_most: int = 150


class Counts(dict[str, int]):
    """How many records were left out, by reason."""

    def add(self, reason: str) -> None:
        """Counts one more."""
        self[reason] = self.get(reason, 0) + 1


def clean(
    records: Iterable[Record], counts: Counts, bounds: Bounds | None = None
) -> Iterator[Record]:
    """The records that can be learned from, each once.

    Args:
        records: Any.
        counts: Filled while they are taken.
        bounds: Which are kept.
    """
    bounds = bounds or Bounds()
    seen: set[bytes] = set()
    for record in records:
        counts.add("read")
        source, target = _line(record.source), _line(record.target)
        reason = _reason(source, target, bounds)
        key = hashlib.blake2b(_bare(source).encode(), digest_size=16).digest()
        if reason is None and key in seen:
            reason = "the same text twice"
        if reason:
            counts.add(reason)
            continue
        seen.add(key)
        yield Record(source[: bounds.source_most].strip(), target, record.time)


def _reason(source: str, target: str, bounds: Bounds) -> str | None:
    """Why a pair is left out, None if it is not."""
    if len(source) < bounds.source_least:
        return "too short a text"
    if not bounds.target_least <= len(target) <= bounds.target_most:
        return "too short or too long a title"
    if _bare(source).startswith(_bare(target)):
        return "the text begins with its title"
    return None


def _line(text: str) -> str:
    return _SPACE.sub(" ", _UNWRITABLE.sub("", text)).strip()


def _bare(text: str) -> str:
    """A text without what hardly distinguishes it: case, space, punctuation."""
    return re.sub(r"[\W_]+", "", text.lower())
