"""The scores in the report: the verdict first, then the table."""

from collections.abc import Sequence

from kooler.seq2seq.comparison import SCORES, ScoreRow, comparison_sentence, losses, printed
from kooler.seq2seq.report_parts import order_label, order_name, scroller_start
from kooler.seq2seq.report_text import escape

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
        (f"{best.scores.exact:.1f}\u202f%", f"exact titles, {order_name(best.name)}"),
        (f"{best.scores.rouge_l:.1f}", f"ROUGE-L, {order_name(best.name)}"),
    ]
    if rivals:
        rival = max(rivals, key=lambda row: row.scores.rouge_l)
        tiles.append((f"{rival.scores.rouge_l:.1f}", f"ROUGE-L, best baseline: {rival.name}"))
    tiles.append((f"{best.scores.titles:,}", "titles scored"))
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
        f'<th scope="col">{escape(SHORT_SCORES.get(score, name))}</th>'
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
        f'{scroller_start("table of scores")}<table class="scores"><thead><tr>'
        f'<th scope="col">written by</th>{heads}<th scope="col">length</th></tr></thead>'
        f"{bodies}</table></div>"
        '<p class="quiet">Percentages but for BLEU and chrF; <b>bold</b>: the best of model and '
        'baselines; <span class="below">▾</span>: below a baseline. Length is tokens written for '
        "each token of the true titles."
        f"{_oracle_note(rows)}{_blind_note(rows)}</p>"
        + "".join(
            f'<p class="quiet signature">BLEU {escape(bleu)}<br>chrF {escape(chrf)}</p>'
            for bleu, chrf in signatures
        )
    )


def _group(rows: Sequence[ScoreRow], kind: str, name: str) -> str:
    lines = "".join(_line(rows, row) for row in rows if row.kind == kind)
    return (
        f'<tbody class="{kind}"><tr class="group">'
        f'<th colspan="{len(SCORES) + 2}" scope="rowgroup">{name}</th></tr>{lines}</tbody>'
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
            below = f"below {escape(loss.baseline)}"
            number += f'<span class="below" title="{below}">▾</span>'
            number += f'<span class="spoken"> {below}</span>'
    return number


def _oracle_note(rows: Sequence[ScoreRow]) -> str:
    if not any(row.kind == "oracle" for row in rows):
        return ""
    return " An oracle has seen the true title when it chose; it is no fair baseline."


def _blind_note(rows: Sequence[ScoreRow]) -> str:
    blind = max(row.scores.references_without_tokens for row in rows)
    if not blind:
        return ""
    return f" In {blind} of the true titles ROUGE sees no token; they count as 0."
