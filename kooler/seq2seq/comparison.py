"""Does the model beat what needs no model?  One table of scores, and a plain sentence about it.

A score is compared as the table prints it, with one decimal: a smaller difference is none.  Only
baselines that any reader of the source could have written count; an oracle has seen the reference.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from kooler.seq2seq.evaluate import TitleScores
from kooler.seq2seq.report_words import say

Kind = Literal["model", "baseline", "oracle"]

SCORES = {
    "exact": "exact titles",
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "first_tokens": "first four tokens",
    "last_tokens": "last four tokens",
}


class ScoreRow(NamedTuple):
    """One line of the table of scores.

    Attributes:
        name: A generation order ("l2r", "best") or a baseline ("lead").
        kind: "model", "baseline", or "oracle" for what looks at the reference.
        scores: What `evaluate_titles` returned.
    """

    name: str
    kind: Kind
    scores: TitleScores


class Loss(NamedTuple):
    """A score in which a baseline is above the model.

    Attributes:
        model: Name of the model's row.
        baseline: Name of the best baseline in this score.
        score: A key of `SCORES`.
        value: What the model reached, rounded as printed.
        baseline_value: What the baseline reached.
    """

    model: str
    baseline: str
    score: str
    value: float
    baseline_value: float


def losses(rows: Sequence[ScoreRow]) -> list[Loss]:
    """Finds every score in which a row of the model is below a baseline.

    Args:
        rows: The table.

    Returns:
        One entry for each row of the model and score, with the best baseline.
    """
    models = [row for row in rows if row.kind == "model"]
    rivals = [row for row in rows if row.kind == "baseline"]
    found = []
    for model in models if rivals else ():
        for score in SCORES:
            best = max(rivals, key=lambda row: printed(row, score))
            if printed(model, score) < printed(best, score):
                values = printed(model, score), printed(best, score)
                found.append(Loss(model.name, best.name, score, *values))
    return found


def comparison_sentence(rows: Sequence[ScoreRow]) -> str:
    """Says plainly where the model loses against a baseline, or that it does not.

    Args:
        rows: The table.

    Returns:
        One sentence for each row of the model that loses, or one for all.

    Example:
        "l2r loses against lead in ROUGE-1 (14.0 to 20.1)."
    """
    kinds = {row.kind for row in rows}
    if "model" not in kinds or "baseline" not in kinds:
        return say("No model or no baseline was scored, so there is nothing to compare.")
    found = losses(rows)
    if not found:
        return say("In no score is any order of the model below a baseline.")
    return " ".join(
        say("{model} loses {against}.", model=model, against=_and(_against(found, model)))
        for model in dict.fromkeys(loss.model for loss in found)
    )


def printed(row: ScoreRow, score: str) -> float:
    """A score of a row, rounded as it is printed."""
    return round(float(getattr(row.scores, score)), 1)


def _against(found: Sequence[Loss], model: str) -> list[str]:
    own = [loss for loss in found if loss.model == model]
    return [
        say(
            "against {baseline} in {scores}",
            baseline=say(baseline),
            scores=_where([loss for loss in own if loss.baseline == baseline]),
        )
        for baseline in dict.fromkeys(loss.baseline for loss in own)
    ]


def _where(found: Sequence[Loss]) -> str:
    if len(found) == len(SCORES):
        return say("every score")
    return _and(
        [
            say(
                "{score} ({value} to {baseline})",
                score=say(SCORES[loss.score]),
                value=f"{loss.value:.1f}",
                baseline=f"{loss.baseline_value:.1f}",
            )
            for loss in found
        ]
    )


def _and(parts: Sequence[str]) -> str:
    return say(" and ").join([say(", ").join(parts[:-1]), parts[-1]] if parts[1:] else parts)
