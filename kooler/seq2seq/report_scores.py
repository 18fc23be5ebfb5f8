"""The scores in the report: the verdict first, then the table."""

from collections.abc import Sequence

from kooler.seq2seq.comparison import SCORES, ScoreRow, comparison_sentence, losses, printed
from kooler.seq2seq.report_parts import order_label, order_name, scroller_start
from kooler.seq2seq.report_text import escape
from kooler.seq2seq.report_words import say

SHORT_SCORES = {"exact": "exact", "first_tokens": "first 4", "last_tokens": "last 4"}


def headline(rows: Sequence[ScoreRow]) -> str:
    """Shows a few numbers of the best order, and the sentence that compares with the baselines.

    Args:
        rows: The table.

    Returns:
        HTML, empty without a row of the model.
    """
    models = [row for row in rows if row.kind == "model"]
    if not models:
        return ""
    best = max(models, key=lambda row: (row.scores.exact, row.scores.rouge_l))
    rivals = [row for row in rows if row.kind == "baseline"]
    tiles = [
        (
            f"{best.scores.exact:.1f}\u202f%",
            say("exact titles, {order}", order=order_name(best.name)),
        ),
        (f"{best.scores.rouge_l:.1f}", say("ROUGE-L, {order}", order=order_name(best.name))),
    ]
    if rivals:
        rival = max(rivals, key=lambda row: row.scores.rouge_l)
        name = say("ROUGE-L, best baseline: {name}", name=say(rival.name))
        tiles.append((f"{rival.scores.rouge_l:.1f}", name))
    tiles.append((f"{best.scores.titles:,}", say("titles scored")))
    return (
        '<dl class="tiles">'
        + "".join(f"<div><dt>{escape(b)}</dt><dd>{escape(a)}</dd></div>" for a, b in tiles)
        + f"</dl>{_verdict(rows)}"
    )


def _verdict(rows: Sequence[ScoreRow]) -> str:
    kind = "loses" if losses(rows) else "holds"
    return f'<p class="verdict {kind}">{escape(comparison_sentence(rows))}</p>'


def score_table(rows: Sequence[ScoreRow]) -> str:
    """Makes the table: the model's orders, the baselines, the oracles.

    Args:
        rows: The table.

    Returns:
        HTML, empty without rows.
    """
    if not rows:
        return ""
    heads = "".join(
        f'<th scope="col">{escape(say(SHORT_SCORES.get(score, name)))}</th>'
        for score, name in SCORES.items()
    )
    groups = (("model", "the model"), ("baseline", "baselines"), ("oracle", "oracle"))
    bodies = "".join(
        _group(rows, kind, name) for kind, name in groups if any(row.kind == kind for row in rows)
    )
    signatures = dict.fromkeys(
        (row.scores.bleu_signature, row.scores.chrf_signature) for row in rows
    )
    return (
        f'{scroller_start(say("table of scores"))}<table class="scores"><thead><tr>'
        f'<th scope="col">{say("written by")}</th>{heads}<th scope="col">{say("length")}</th>'
        f"</tr></thead>"
        f"{bodies}</table></div>"
        f'<p class="quiet">{_legend()}{_oracle_note(rows)}'
        f"{_blind_note(rows)}</p>"
        + "".join(
            f'<p class="quiet signature">BLEU {escape(bleu)}<br>chrF {escape(chrf)}</p>'
            for bleu, chrf in signatures
        )
    )


def _group(rows: Sequence[ScoreRow], kind: str, name: str) -> str:
    lines = "".join(_line(rows, row) for row in rows if row.kind == kind)
    return (
        f'<tbody class="{kind}"><tr class="group">'
        f'<th colspan="{len(SCORES) + 2}" scope="rowgroup">{say(name)}</th></tr>{lines}</tbody>'
    )


def _line(rows: Sequence[ScoreRow], row: ScoreRow) -> str:
    cells = "".join(f"<td>{_cell(rows, row, score)}</td>" for score in SCORES)
    return (
        f'<tr><th scope="row">{order_label(row.name)}</th>{cells}'
        f"<td>{row.scores.length_ratio:.2f}</td></tr>"
    )


def _cell(rows: Sequence[ScoreRow], row: ScoreRow, score: str) -> str:
    number = f"{printed(row, score):.1f}"
    fair = [printed(other, score) for other in rows if other.kind != "oracle"]
    if row.kind != "oracle" and printed(row, score) == max(fair):
        return f"<b>{number}</b>"
    for loss in losses(rows):
        if row.kind == "model" and (loss.model, loss.score) == (row.name, score):
            below = escape(say("below {name}", name=say(loss.baseline)))
            number += f'<span class="below" title="{below}">▾</span>'
            number += f'<span class="spoken"> {below}</span>'
    return number


def _legend() -> str:
    return say(
        "Percentages but for BLEU and chrF; {bold}: the best of model and baselines; {below}: "
        "below a baseline. Length is tokens written for each token of the true titles.",
        bold=f"<b>{say('bold')}</b>",
        below='<span class="below">▾</span>',
    )


def _oracle_note(rows: Sequence[ScoreRow]) -> str:
    if not any(row.kind == "oracle" for row in rows):
        return ""
    return say(" An oracle has seen the true title when it chose; it is no fair baseline.")


def _blind_note(rows: Sequence[ScoreRow]) -> str:
    blind = max(row.scores.references_without_tokens for row in rows)
    if not blind:
        return ""
    return say(" In {count} of the true titles ROUGE sees no token; they count as 0.", count=blind)
