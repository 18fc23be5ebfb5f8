"""A beam search, drawn step by step: what was open, what went on, what was dropped.

Each step shows the beam after it, best first.  What the step wrote stands out; what no later step
builds on is faded; a hypothesis that becomes the title is bold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from kooler.seq2seq.report_growth import player
from kooler.seq2seq.report_text import escape, percent
from kooler.seq2seq.report_words import say


@dataclass(frozen=True)
class BeamRow:
    """A hypothesis after a step.

    Args:
        left: What is written at the left end, without the new tokens.
        left_new: What this step wrote there.
        right_new: What this step wrote at the right end.
        right: What is written there, without the new tokens.
        probability: Of all of it, from 0 to 1.
        goes_on: Whether a later step builds on it.
        wins: Whether it becomes the best title of this order.
        finished: Whether it is a complete title.
    """

    left: str
    left_new: str
    right_new: str
    right: str
    probability: float
    goes_on: bool = True
    wins: bool = False
    finished: bool = False


@dataclass(frozen=True)
class BeamStep:
    """The beam after one step, and the titles that this step finished."""

    rows: Sequence[BeamRow]


def beam_steps(steps: Sequence[BeamStep], language: str) -> str:
    """Draws the steps of a beam.

    Args:
        steps: At least one.
        language: Value of `lang`, already escaped.

    Returns:
        HTML.
    """
    return player([_step(number, step, language) for number, step in enumerate(steps, start=1)])


def beam_explanation() -> str:
    """How to read the picture."""
    return say(
        "Every step extends each open title by its most probable tokens and keeps the best; bold "
        "is what becomes the title, faded is what is dropped, ✓ is complete. The number is the "
        "probability of all that is written."
    )


def _step(number: int, step: BeamStep, language: str) -> str:
    rows = "".join(_row(row) for row in step.rows)
    return (
        f'<p class="caption">{say("Step {number}", number=number)}</p>'
        f'<div class="beam" role="list" lang="{language}">{rows}</div>'
    )


def _row(row: BeamRow) -> str:
    kinds = [
        name
        for name, applies in (
            ("wins", row.wins),
            ("dropped", not (row.goes_on or row.finished)),
            ("finished", row.finished),
        )
        if applies
    ]
    if row.finished:
        words = f"<bdi>✓ {escape(row.left)}</bdi>"
    else:
        words = (
            f'<bdi><span class="l">{_half(row.left, row.left_new)}</span><span class="gap"> … '
            f'</span><span class="r">{_half(row.right_new, row.right, new_first=True)}</span></bdi>'
        )
    dropped = f'<span class="spoken"> {say("dropped")}</span>' if "dropped" in kinds else ""
    share = escape(percent(row.probability))
    name = " ".join(["hypothesis", *kinds])
    return f'<div class="{name}" role="listitem">{words}{dropped}<small>{share}</small></div>'


def _half(first: str, second: str, *, new_first: bool = False) -> str:
    old, new = (second, first) if new_first else (first, second)
    old, new = escape(old), f"<b>{escape(new)}</b>" if new else ""
    return new + old if new_first else old + new
