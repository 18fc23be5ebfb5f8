"""Samples in the report: a text, its true title, and what each order writes for it."""

import difflib
import re
from collections.abc import Sequence

from kooler.seq2seq.evaluate import CJK, is_exact
from kooler.seq2seq.report_data import Sample
from kooler.seq2seq.report_parts import pill, source_text
from kooler.seq2seq.report_text import escape
from kooler.seq2seq.report_words import say

_PIECE = re.compile(f"[{CJK}]|[^\\W{CJK}]+|\\s+|.", re.DOTALL)


def sample_cards(samples: Sequence[Sample], language: str) -> str:
    """Shows each sample on a card; orders that wrote the same share a line.

    Args:
        samples: Any number of them.
        language: Value of `lang`, already escaped.

    Returns:
        HTML, empty if there are none.
    """
    return "".join(_sample(sample, language) for sample in samples)


def _sample(sample: Sample, language: str) -> str:
    orders: dict[str, list[str]] = {}
    for order, title in sample.titles.items():
        orders.setdefault(title, []).append(order)
    written = "".join(
        f'<li class="{"exact" if is_exact(title, sample.reference) else "differs"}">'
        f'<span class="who">{"".join(pill(order) for order in names)}</span>'
        f'<span class="what" lang="{language}" dir="auto">{_marked(title, sample.reference)}</span>'
        f'<span class="mark">{_mark(title, sample.reference)}</span></li>'
        for title, names in orders.items()
    )
    return (
        f'<article class="sample"><h3><span class="eyebrow">{say("true title")}</span>'
        f'<span lang="{language}" dir="auto">{escape(sample.reference)}</span></h3>'
        f"{source_text(sample.source, language)}"
        f'<ul class="written">{written}</ul></article>'
    )


def _mark(title: str, reference: str) -> str:
    if is_exact(title, reference):
        return say("✓ exact")
    return say("empty") if not title.strip() else say("differs")


def _marked(title: str, reference: str) -> str:
    """A title with what the reference does not have marked, and a caret where something lacks."""
    ours, theirs = _PIECE.findall(title), _PIECE.findall(reference)
    parts = []
    matcher = difflib.SequenceMatcher(None, theirs, ours, autojunk=False)
    for change, start, stop, here, there in matcher.get_opcodes():
        text = escape("".join(ours[here:there]))
        missing = "".join(theirs[start:stop]).strip()
        if change != "equal" and text.strip():
            text = f"<mark>{text}</mark>"
        elif change != "equal" and missing:
            hint = escape(say("missing: {text}", text=missing))
            text = f'<span class="missing" title="{hint}">‸</span>{text}'
        parts.append(text)
    return "".join(parts)
