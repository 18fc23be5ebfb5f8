"""The attention picture of the report: where the decoder looks while it writes a title.

The labels are text of the page, so Chinese ones need no font of ours.
"""

from collections.abc import Iterator, Sequence

from kooler.seq2seq.report_data import Attention
from kooler.seq2seq.report_parts import scroller_start
from kooler.seq2seq.report_text import columns, escape, shorten
from kooler.seq2seq.report_words import say

SOURCE_COLUMNS = 40  # more source tokens than these are reduced to the ones looked at most
CELL, LABEL_LETTERS, LETTER_WIDTH = 22, 16, 7.2


def attention_section(attention: Attention | None, language: str, explanation: str = "") -> str:
    """Explains and draws the attention of one title, with the same in words below.

    Args:
        attention: Labels and weights, or nothing.
        language: Value of `lang` for the labels.
        explanation: What rows and columns are, if the columns are not the source.

    Returns:
        HTML, empty if there is nothing.
    """
    if attention is None:
        return ""
    shown = len(attention.source_tokens)
    cut = (
        say(
            " Of {all} source tokens the {drawn} that are looked at most are drawn.",
            all=shown,
            drawn=SOURCE_COLUMNS,
        )
        if shown > SOURCE_COLUMNS
        else ""
    )
    note = f" {escape(attention.note)}." if attention.note else ""
    highest = max(max(row) for row in attention.weights)
    words = "".join(
        f"<li><bdi>{escape(token.strip())}</bdi>: "
        + ", ".join(
            f"<bdi>{escape(name.strip())}</bdi> {weight:.2f}"
            for name, weight in strongest(attention, row, 3)
        )
        + "</li>"
        for row, token in enumerate(attention.title_tokens)
    )
    return (
        f"<p>{explanation or _explanation()}{note}{cut}</p>"
        f'<figure>{scroller_start(say("attention matrix"))}<div lang="{language}">'
        f"{attention_picture(attention)}</div></div>"
        '<figcaption class="scale">0 <span class="ramp"></span> '
        f"{highest:.2f}</figcaption></figure>"
        f"<details><summary>{say('The same in words')}</summary>"
        f'<ul lang="{language}">{words}</ul></details>'
    )


def _explanation() -> str:
    return say(
        "Each row is a token of the title, each column a token of the source; the stronger the "
        "colour, the more the decoder looked there when it wrote the token."
    )


def attention_picture(attention: Attention) -> str:
    """Draws a matrix: rows are title tokens, columns source tokens, the darker the more attention.

    Args:
        attention: Labels and weights.

    Returns:
        An `svg` element; each cell says its numbers when pointed at.
    """
    kept = kept_columns(attention)
    labels = [_label(attention.source_tokens[column]) for column in kept]
    titles = [_label(token) for token in attention.title_tokens]
    left = max(map(columns, titles)) * LETTER_WIDTH + 14
    upright = max(map(columns, labels)) <= 2
    longest = max(map(columns, labels)) * LETTER_WIDTH
    top, overhang = (28.0, 8.0) if upright else (longest * 0.78 + 16, longest * 0.62 + 8)
    width, height = left + CELL * len(kept) + overhang, top + CELL * len(titles) + 4
    highest = max(max(row) for row in attention.weights) or 1.0
    return "".join(
        [
            f'<svg class="attention" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
            f'aria-label="{escape(_description(attention))}">',
            f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{CELL * len(kept)}" '
            f'height="{CELL * len(titles)}"/>',
            *(
                _column_label(left + CELL * (i + 0.5), top - 7, label, upright)
                for i, label in enumerate(labels)
            ),
            *(
                f'<text x="{left - 7:.1f}" y="{top + CELL * (i + 0.5) + 4:.1f}" '
                f'text-anchor="end">{escape(label)}</text>'
                for i, label in enumerate(titles)
            ),
            *_cells(attention, kept, highest, left, top),
            "</svg>",
        ]
    )


def kept_columns(attention: Attention) -> list[int]:
    """Chooses the source tokens to draw: all, or those that any title token looks at most.

    Args:
        attention: Labels and weights.

    Returns:
        At most `SOURCE_COLUMNS` column numbers, ascending.
    """
    most = [max(column) for column in zip(*attention.weights, strict=True)]
    ranked = sorted(range(len(most)), key=lambda column: -most[column])
    return sorted(ranked[:SOURCE_COLUMNS])


def strongest(attention: Attention, row: int, count: int) -> list[tuple[str, float]]:
    """The source tokens that one title token looks at most.

    Args:
        attention: Labels and weights.
        row: Number of the title token.
        count: How many to give.

    Returns:
        (source token, weight), the highest weight first.
    """
    weights = attention.weights[row]
    ranked = sorted(range(len(weights)), key=lambda column: -weights[column])
    return [(attention.source_tokens[column], weights[column]) for column in ranked[:count]]


def _label(token: str) -> str:
    return shorten(token.strip() or "␠", LABEL_LETTERS)


def _column_label(x: float, y: float, label: str, upright: bool) -> str:
    if upright:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(label)}</text>'
    return f'<text transform="translate({x:.1f} {y:.1f}) rotate(-52)">{escape(label)}</text>'


def _cells(
    attention: Attention, kept: Sequence[int], highest: float, left: float, top: float
) -> Iterator[str]:
    for row, token in enumerate(attention.title_tokens):
        for place, column in enumerate(kept):
            weight = attention.weights[row][column]
            if weight < 0.005 * highest:
                continue  # cannot be seen, and many of them make the file large
            yield (
                f'<rect x="{left + CELL * place + 1:.1f}" y="{top + CELL * row + 1:.1f}" '
                f'width="{CELL - 2}" height="{CELL - 2}" rx="3" '
                f'fill-opacity="{weight / highest:.2f}"><title>{escape(token.strip())} ← '
                f"{escape(attention.source_tokens[column].strip())}: {weight:.2f}</title></rect>"
            )


def _description(attention: Attention) -> str:
    looks = [
        say(
            "{token} at {source}",
            token=token.strip(),
            source=strongest(attention, row, 1)[0][0].strip(),
        )
        for row, token in enumerate(attention.title_tokens)
    ]
    return say("Attention matrix. Each title token looks most: {looks}.", looks="; ".join(looks))
