"""What a corpus is like, in a table, and whether it makes a title task, in a sentence.

Four signs, on the test set:

* lengths of texts and titles,
* overlap: the share of the words of a title that its text holds; the rest has to be guessed,
* leaks: titles that stand word for word in their text,
* ROUGE-L of titles that need no learning (`baselines.py`), the nearest title of the training set
  among them.
"""

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from kooler.seq2seq.baselines import baselines
from kooler.seq2seq.counted import counted
from kooler.seq2seq.evaluate import evaluate_titles, rouge_tokens
from kooler.seq2seq.harvest.record import Record
from kooler.seq2seq.harvest.splitting import Split

MEASURED = 500  # pairs of the test set
ENOUGH = 2000  # pairs to learn from
COPIED, GUESSED, REMEMBERED = 60.0, 35.0, 40.0


class Profile(NamedTuple):
    """Numbers about a corpus; shares in percent.

    Attributes:
        pairs: Of train, dev and test.
        dropped: Pairs of dev and test that were nearly the same as others.
        source_words: Median and 95 % of the words of a text.
        target_words: The same of a title.
        overlap: Of the words of a title those that its text holds.
        leaks: Titles that stand in their text.
        rouge_l: Of each baseline.
    """

    pairs: tuple[int, int, int]
    dropped: int
    source_words: tuple[int, int]
    target_words: tuple[int, int]
    overlap: float
    leaks: float
    rouge_l: dict[str, float]


def profile(parts: Split) -> Profile:
    """Looks at a corpus.

    Args:
        parts: Train, dev, test.
    """
    shown = parts.test[:MEASURED]
    sources, targets = [r.source for r in shown], [r.target for r in shown]
    written = baselines([(r.source, r.target) for r in parts.train], sources)
    return Profile(
        (len(parts.train), len(parts.dev), len(parts.test)),
        parts.dropped,
        _lengths(sources),
        _lengths(targets),
        100 * _mean([_overlap(record) for record in shown]),
        100 * _mean([float(r.target.lower() in r.source.lower()) for r in shown]),
        {name: evaluate_titles(titles, targets).rouge_l for name, titles in written.items()},
    )


def lines(found: Profile) -> list[str]:
    """A profile as lines of text."""
    train, dev, test = found.pairs
    table = [
        ("pairs", f"{train:,} train, {dev:,} dev, {test:,} test"),
        ("near-duplicates", f"{found.dropped:,} dropped from dev and test, none left"),
        ("words of a text", f"{found.source_words[0]} (95 %: {found.source_words[1]})"),
        ("words of a title", f"{found.target_words[0]} (95 %: {found.target_words[1]})"),
        ("overlap", f"{found.overlap:.0f} % of the words of a title are in its text"),
        ("leaks", f"{found.leaks:.0f} % of the titles stand in their text"),
        *((f"ROUGE-L, {name}", f"{score:.1f}") for name, score in found.rouge_l.items()),
    ]
    width = max(len(name) for name, _ in table)
    return [*(f"{name:<{width}}  {value}" for name, value in table), *verdict(found)]


def verdict(found: Profile) -> list[str]:
    """Whether it makes a title task: every reason against it, or that there is none."""
    copies = {name: found.rouge_l[name] for name in found.rouge_l if name != "nearest title"}
    best = max(copies, key=lambda name: copies[name])
    remembered = found.rouge_l["nearest title"]
    reasons = []
    if found.pairs[0] < ENOUGH:
        pairs = counted(found.pairs[0], "pair")
        reasons.append(f"{pairs} to learn from are few; {ENOUGH:,} are a beginning.")
    if copies[best] > COPIED:
        reasons.append(f"Copying is nearly enough: `{best}` reaches {copies[best]:.0f} ROUGE-L.")
    if found.overlap < GUESSED:
        reasons.append(
            f"Only {found.overlap:.0f} % of the words of a title are in its text; the rest would "
            "be guessed."
        )
    if remembered > max(REMEMBERED, copies[best]):
        reasons.append(
            f"The titles repeat each other: the nearest one of train reaches {remembered:.0f}."
        )
    if not reasons:
        return [
            "It makes a title task: the words are there, and copying does not do it "
            f"(`{best}`: {copies[best]:.0f} ROUGE-L)."
        ]
    return ["It hardly makes a title task. " + " ".join(reasons)]


def _lengths(texts: Sequence[str]) -> tuple[int, int]:
    counts = sorted(len(rouge_tokens(text)) for text in texts)
    return round(median(counts)), counts[round(0.95 * (len(counts) - 1))]


def _overlap(record: Record) -> float:
    source, target = set(rouge_tokens(record.source)), rouge_tokens(record.target)
    return _mean([float(word in source) for word in target])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
