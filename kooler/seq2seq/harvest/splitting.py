"""Train, dev and test: by time, or by chance; and nothing nearly the same on two sides.

By time, the newest pairs are the test set, those before them the dev set: a model is used on what
is written after its training.  By chance, a hash of the text decides, the same each time.  A pair
of dev or test whose text is nearly one of the training set is dropped, and so is one of test that
is nearly one of dev.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from kooler.seq2seq.harvest.near_duplicates import NearDuplicates, without_near
from kooler.seq2seq.harvest.record import Record


class Split(NamedTuple):
    """A corpus in three parts, and how many pairs were dropped for one like them in another."""

    train: list[Record]
    dev: list[Record]
    test: list[Record]
    dropped: int


def split(records: Sequence[Record], share: float = 0.1, *, by_time: bool = False) -> Split:
    """Divides a corpus.

    Args:
        records: Clean ones.
        share: The part that becomes dev, and again the part that becomes test; below one half.
        by_time: Whether the newest pairs are test and the next ones dev.

    Raises:
        ValueError: If a part would be empty.
    """
    if not 0 < share < 0.5:
        raise ValueError(f"`share` must be above 0 and below 0.5, received share={share}.")
    ranked = sorted(records, key=time_of if by_time else chance)
    size = round(share * len(ranked))
    if size < 1 or len(ranked) < 3:
        raise ValueError(
            f"a corpus of {len(ranked)} pairs is too small to be divided with share={share}. "
            "Gather more."
        )
    train, dev, test = ranked[: -2 * size], ranked[-2 * size : -size], ranked[-size:]
    known = NearDuplicates()
    for record in train:
        known.add(record.source)
    kept_dev = _kept(dev, known)
    for record in kept_dev:
        known.add(record.source)
    kept_test = _kept(test, known)
    dropped = 2 * size - len(kept_dev) - len(kept_test)
    if not kept_dev or not kept_test:
        raise ValueError(
            f"of {2 * size} pairs for dev and test {dropped} are nearly the same as others, and a "
            "part would be empty. Gather texts that differ more."
        )
    return Split(train, kept_dev, kept_test, dropped)


def _kept(records: Sequence[Record], known: NearDuplicates) -> list[Record]:
    return [records[index] for index in without_near([r.source for r in records], known)]


def time_of(record: Record) -> int:
    """What a split by time goes by."""
    return record.time


def chance(record: Record) -> int:
    """What a split by chance goes by: a hash of the text."""
    return zlib.crc32(record.source.encode())
