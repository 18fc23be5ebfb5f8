"""The bootstrap of the ablation, against sacrebleu's BLEU and against itself."""

import pytest
from sacrebleu.metrics import BLEU

from benchmarks.paired_bootstrap import paired_bootstrap

REFERENCES = [f"the cat number {n} sat on the mat today" for n in range(40)]
WORSE = [text.replace("sat", "lay") for text in REFERENCES]


def test_the_difference_is_that_of_corpus_bleu() -> None:
    mixed = [*WORSE[:20], *REFERENCES[20:]]
    bleu = BLEU(tokenize="none")
    scores = [bleu.corpus_score(texts, [REFERENCES]).score for texts in (mixed, WORSE)]

    difference, chance = paired_bootstrap([mixed], [WORSE], REFERENCES)

    assert difference == pytest.approx(scores[0] - scores[1], abs=1e-9)
    assert chance < 0.01


def test_equal_systems_differ_by_chance_only() -> None:
    assert paired_bootstrap([WORSE], [WORSE], REFERENCES) == (0.0, 1.0)


def test_the_same_output_of_two_seeds_is_no_second_sentence() -> None:
    mixed = [*WORSE[:39], REFERENCES[39]]
    once = paired_bootstrap([mixed], [WORSE], REFERENCES)

    assert paired_bootstrap([mixed, mixed], [WORSE, WORSE], REFERENCES) == pytest.approx(once)
