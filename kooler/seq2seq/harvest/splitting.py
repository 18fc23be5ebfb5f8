"""Train, dev and test: by time, or by chance; and nothing nearly the same on two sides.

By time, the newest pairs are the test set, those before them the dev set: a model is used on what
is written after its training.  By chance, a hash of the text decides, the same each time.  A pair
of dev or test whose text is nearly one of the training set is dropped, and so is one of test that
is nearly one of dev.

Texts of dev and test, the smaller part, are put into an index, and the others are looked up in it.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from kooler.seq2seq.harvest.near_duplicates import NearDuplicates
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
    kept_dev, kept_test = _kept(train, dev, test)
    dropped = 2 * size - len(kept_dev) - len(kept_test)
    if not kept_dev or not kept_test:
        raise ValueError(
            f"of {2 * size} pairs for dev and test {dropped} are nearly the same as others, and a "
            "part would be empty. Gather texts that differ more."
        )
    return Split(train, kept_dev, kept_test, dropped)


def _kept(
    train: Sequence[Record], dev: Sequence[Record], test: Sequence[Record]
) -> tuple[list[Record], list[Record]]:
    """Those of dev and test that nothing before them is near to."""
    measured, index = [*dev, *test], NearDuplicates()
    for record in measured:
        index.add(record.source)
    near: set[int] = set()
    for record in train:
        near |= index.near(record.source)
    for number, record in enumerate(dev):
        if number not in near:
            near |= {other for other in index.near(record.source) if other >= len(dev)}
    kept = [number for number in range(len(measured)) if number not in near]
    return (
        [measured[number] for number in kept if number < len(dev)],
        [measured[number] for number in kept if number >= len(dev)],
    )


def time_of(record: Record) -> int:
    """What a split by time goes by."""
    return record.time


def chance(record: Record) -> int:
    """What a split by chance goes by: a hash of the text."""
    return zlib.crc32(record.source.encode())
