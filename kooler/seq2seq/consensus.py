"""The candidate that is most like all the others: decoding by minimum Bayes risk.

What could be said spreads over many candidates, each a little different, and the most probable one
is often short and says little.  Minimum Bayes risk takes the one that is expected to be most like
what could be written instead:

    value(y)        =  Σ_c p(c) · likeness(y, c)      over all candidates c, y among them
    likeness(y, c)  =  2 · |y ∩ c| / (|y| + |c|)      of their tokens and pairs of neighbours

where tokens and pairs are counted as often as they occur, as ROUGE-1 and ROUGE-2 count them, and
p(c) is the candidate's share, Σ_c p(c) = 1.

Sources: Kumar, Byrne, "Minimum Bayes-Risk Decoding for Statistical Machine Translation", 2004,
https://aclanthology.org/N04-1022; for samples Eikema, Aziz, "Is MAP Decoding All You Need?", 2020,
https://arxiv.org/abs/2005.10283.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def shares(scores: Sequence[float], sampled: bool) -> np.ndarray:
    """What each candidate counts, float [N], adding up to 1.

    Args:
        scores: log p(y) / length(y)^α of each candidate.
        sampled: Whether the candidates are samples: those are there as often as they are probable,
            and count equally.  Otherwise a candidate counts as exp(score).
    """
    values = np.zeros(len(scores)) if sampled else np.array(scores)
    parts = np.exp(values - values.max())
    return np.asarray(parts / parts.sum())


def by_consensus(candidates: Sequence[Sequence[int]], shares: np.ndarray) -> list[int]:
    """The indices of the candidates, of the largest value first; of equals the first stays first.

    Args:
        candidates: The ids of each.
        shares: What each counts, float [N].
    """
    parts = [_parts(ids) for ids in candidates]
    alike = np.array([[likeness(one, other) for other in parts] for one in parts])
    best_first: list[int] = np.argsort(-(alike @ shares), kind="stable").tolist()
    return best_first


def likeness(one: Counter[Any], other: Counter[Any]) -> float:
    """F1 of what both have: 1 for equal ones, 0 where they share nothing."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def _parts(ids: Sequence[int]) -> Counter[Any]:
    """Tokens and pairs of neighbours, counted."""
    return Counter([*ids, *pairwise(ids)])
