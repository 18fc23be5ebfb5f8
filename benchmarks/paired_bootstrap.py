"""Is the difference of two systems' BLEU more than the choice of test sentences?

Paired bootstrap resampling (Koehn, "Statistical significance tests for machine translation
evaluation", 2004, https://aclanthology.org/W04-3250): draw as many sentences as there are, with
replacement, and score both systems on them, a thousand times.  With several seeds a sentence is
drawn with the outputs of all seeds, since they are no independent sentences.

    Δ = BLEU(system) − BLEU(baseline)        p = share of draws with |Δ_draw − mean Δ_draw| ≥ |Δ|

`p` is two-sided; sacrebleu's, of the larger differences on one side, is about half of it.
"""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU

DRAWS = 1000
Texts = Sequence[str]


def paired_bootstrap(
    systems: Sequence[Texts], baselines: Sequence[Texts], references: Texts
) -> tuple[float, float]:
    """Δ and p of a system against a baseline, both with one list of outputs for each seed."""
    counts = [sum(_counts(texts, references) for texts in side) for side in (systems, baselines)]
    difference = _bleu(counts[0].sum(0)) - _bleu(counts[1].sum(0))
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        rows = random.integers(len(references), size=len(references))
        drawn.append(_bleu(counts[0][rows].sum(0)) - _bleu(counts[1][rows].sum(0)))
    far = np.abs(np.array(drawn) - np.mean(drawn)) >= abs(difference)
    return difference, float((far.sum() + 1) / (DRAWS + 1))


def _counts(texts: Texts, references: Texts) -> np.ndarray:
    """What BLEU adds up: n-grams right, n-grams written, and both lengths, int [sentences, 10]."""
    bleu = BLEU(tokenize="none", effective_order=True)
    scores = [
        bleu.sentence_score(text, [reference])
        for text, reference in zip(texts, references, strict=True)
    ]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores])


def _bleu(total: np.ndarray) -> float:
    right, written, lengths = total[:4].tolist(), total[4:8].tolist(), total[8:].tolist()
    score: float = BLEU.compute_bleu(right, written, *lengths).score
    return score
