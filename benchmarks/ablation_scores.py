"""Scores of the ablation and its tables: means over seeds, what a bootstrap says against A0, and
BLEU by the length of the reference.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU

from kooler.seq2seq.evaluate import evaluate_titles

BUCKETS = ((1, 8), (9, 12), (13, 16), (17, 22), (23, 10_000))  # words of the reference
MIDDLE = 4
Pooled = Callable[[str, str, list[int]], tuple[float, float] | None]


def scored(titles: list[str], references: list[str]) -> dict[str, Any]:
    """All figures of one system on one test set; both sides are words with spaces between them."""
    plain = evaluate_titles(titles, references, tokenize="none")
    international = evaluate_titles(titles, references, tokenize="13a")
    buckets = {}
    for low, high in BUCKETS:
        inside = [i for i, text in enumerate(references) if low <= len(text.split()) <= high]
        if inside:
            parts = [titles[i] for i in inside], [references[i] for i in inside]
            score = BLEU(tokenize="none", force=True).corpus_score(parts[0], [parts[1]]).score
            buckets[f"{low}-{high}"] = [len(inside), score]
    return {
        "bleu": plain.bleu,
        "bleu_13a": international.bleu,
        "chrf": plain.chrf,
        **{name: getattr(plain, name) for name in ("rouge_1", "rouge_2", "rouge_l")},
        "first_4": plain.first_tokens,
        "middle_4": middle_accuracy(titles, references),
        "last_4": plain.last_tokens,
        "length_ratio": plain.length_ratio,
        "buckets": buckets,
        "signature": plain.bleu_signature,
    }


def middle_accuracy(titles: Sequence[str], references: Sequence[str]) -> float:
    """Right words among the four in the middle of each reference, in percent.

    The middles of both are laid over each other, as their ends are for the first and last four.
    """
    right = places = 0
    for title, reference in zip(titles, references, strict=True):
        wanted, written = _middle(reference.split()), _middle(title.split())
        right += sum(a == b for a, b in zip(written, wanted, strict=False))
        places += len(wanted)
    return 100 * right / max(places, 1)


def _middle(words: list[str]) -> list[str]:
    first = max(len(words) - MIDDLE, 0) // 2
    return words[first : first + MIDDLE]


def table(records: list[dict[str, Any]], pooled: Pooled) -> str:
    """A line for each row and test set; `pooled` compares all seeds of a row with A0."""
    heads = ("bleu", "bleu_13a", "chrf", "rouge_1", "rouge_2", "rouge_l")
    heads += ("first_4", "middle_4", "last_4", "length_ratio")
    more = ("parameters", "train_tokens_per_second", "decode_tokens_per_second")
    titles = ["test", "row", "seeds", *heads, "±", "Δ A0", "p (each seed)", "p (pooled)"]
    lines = ["\t".join([*titles, "params", "train t/s", "decode t/s"])]
    for (test, row), found in sorted(_groups(records).items()):
        means = [f"{np.mean([record[head] for record in found]):.2f}" for head in heads]
        spread = f"{np.std([record['bleu'] for record in found], ddof=len(found) > 1):.2f}"
        gains = [record["gain"] for record in found if record.get("gain") is not None]
        chances = " ".join(f"{gain[1]:.3f}" for gain in gains)
        both = pooled(row, test, [record["seed"] for record in found]) if gains else None
        gain, chance = (f"{both[0]:+.2f}", f"{both[1]:.3f}") if both else ("", "")
        costs = [f"{np.mean([record[name] for record in found]):.0f}" for name in more]
        columns = [str(len(found)), *means, spread, gain, chances, chance, *costs]
        lines.append("\t".join([test, row, *columns]))
    return "\n".join(lines)


def lengths_table(records: list[dict[str, Any]]) -> str:
    """BLEU by words of the reference, and behind it the difference to A0: a line for each row."""
    names = [f"{low}-{high}" for low, high in BUCKETS]
    lines = ["\t".join(["test", "row", *names[:-1], f"{BUCKETS[-1][0]}-"])]
    groups = _groups(records)
    for (test, row), found in sorted(groups.items()):
        cells = []
        for name in names:
            score, base = _in_bucket(found, name), _in_bucket(groups.get((test, "A0"), []), name)
            difference = "" if row == "A0" or base is None else f" ({score - base:+.2f})"
            cells.append("" if score is None else f"{score:.2f}{difference}")
        lines.append("\t".join([test, row, *cells]))
    return "\n".join(lines)


def _in_bucket(records: list[dict[str, Any]], name: str) -> Any:
    scores = [record["buckets"][name][1] for record in records if name in record["buckets"]]
    return float(np.mean(scores)) if scores else None


def _groups(records: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["test"], record["row"]].append(record)
    return groups
