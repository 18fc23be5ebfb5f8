"""Scores of the ablation, and its table: means over seeds, and what a bootstrap says against A0."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from kooler.seq2seq.evaluate import evaluate_titles

BUCKETS = ((1, 8), (9, 12), (13, 16), (17, 22), (23, 10_000))  # words of the reference
MIDDLE = 4


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


def bootstrap(system: list[str], baseline: list[str], references: list[str]) -> tuple[float, float]:
    """The difference in BLEU to a baseline, and how often a resampled one is as large by chance."""
    if system == baseline:
        return 0.0, 1.0
    test = PairedTest(
        [("baseline", baseline), ("system", system)],
        {"BLEU": BLEU(tokenize="none", force=True)},
        [references],
        test_type="bs",
        n_samples=1000,
    )
    _, scores = test()
    before, after = scores["BLEU"]
    return after.score - before.score, float(after.p_value)


def table(records: list[dict[str, Any]]) -> str:
    """The table: a line for each row and test set."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[record["test"], record["row"]].append(record)
    heads = ("bleu", "bleu_13a", "chrf", "rouge_l", "first_4", "middle_4", "last_4", "length_ratio")
    more = ("parameters", "train_tokens_per_second", "decode_tokens_per_second")
    titles = ["test", "row", "seeds", *heads, "±", "Δ A0", "p (each seed)", "params", "train t/s"]
    lines = ["\t".join([*titles, "decode t/s"])]
    for (test, row), found in sorted(groups.items()):
        means = [f"{np.mean([record[head] for record in found]):.2f}" for head in heads]
        spread = f"{np.std([record['bleu'] for record in found]):.2f}"
        gains = [record["gain"] for record in found if record.get("gain") is not None]
        gain = f"{np.mean([g[0] for g in gains]):+.2f}" if gains else ""
        chance = " ".join(f"{g[1]:.3f}" for g in gains)
        costs = [f"{np.mean([record[name] for record in found]):.0f}" for name in more]
        lines.append("\t".join([test, row, str(len(found)), *means, spread, gain, chance, *costs]))
    return "\n".join(lines)
