"""From records to train.tsv, dev.tsv and test.tsv, with a word about them."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kooler.core.atomic import write_text
from kooler.seq2seq.harvest.cleaning import Counts, clean
from kooler.seq2seq.harvest.profile import Profile, lines, profile
from kooler.seq2seq.harvest.record import Record
from kooler.seq2seq.harvest.splitting import split, time_of

PARTS = ("train", "dev", "test")
TELL_EVERY = 20_000  # records


def build_corpus(
    records: Iterable[Record],
    folder: Path,
    tell: Callable[[str], None],
    *,
    share: float = 0.1,
    by_time: bool = False,
    limit: int | None = None,
) -> Profile:
    """Writes a corpus.

    Args:
        records: As they were found.
        folder: Where the three files go; made where missing.
        tell: Gets the profile, line by line.
        share: The part that becomes dev, and again that becomes test.
        by_time: Whether the newest pairs are the test set.
        limit: Most pairs, None for all: the newest ones if `by_time`, else the first ones.

    Raises:
        ValueError: If one of the files is there already, or there are too few pairs.
    """
    _check_folder(folder)
    counts = Counts()
    cleaned = clean(_told(records, tell), counts)
    kept = list(cleaned if by_time else itertools.islice(cleaned, limit))
    for reason, count in counts.items():
        tell(f"{count:,} {reason}" if reason == "read" else f"{count:,} left out: {reason}")
    if not kept:
        raise ValueError("no pair is left of what was read.")
    if by_time and limit is not None:
        kept = sorted(kept, key=time_of)[-limit:]
    parts = split(kept, share, by_time=by_time)
    folder.mkdir(parents=True, exist_ok=True)
    for name in PARTS:
        pairs = getattr(parts, name)
        write_text(folder / f"{name}.tsv", "".join(f"{r.source}\t{r.target}\n" for r in pairs))
    found = profile(parts)
    for line in lines(found):
        tell(line)
    return found


def _told(records: Iterable[Record], tell: Callable[[str], None]) -> Iterator[Record]:
    for number, record in enumerate(records):
        if number and number % TELL_EVERY == 0:
            tell(f"{number:,} read so far …")
        yield record


def _check_folder(folder: Path) -> None:
    for name in PARTS:
        if (folder / f"{name}.tsv").exists():
            raise ValueError(
                f"`{folder / name}.tsv` is there already. Choose another --output folder."
            )
