"""`kooler explain`: how one title came about, as one HTML page that needs nothing else.

    the title           growing from both ends, with how sure the model was of each token
    the beams           of every order, step by step: what was open, and what was dropped
    the two ends        where each looks in what the other has written
    the text            where the model looks while it writes

The searches are those of `generate` (see `watching.py`), the attention is that of the last layer
when the title is put through the model again.  Of a model of two streams the beams are drawn, which
saw each other.
"""

from collections.abc import Sequence
from math import exp
from pathlib import Path

import numpy as np

from kooler.core.atomic import write_text
from kooler.seq2seq.generation import Hypothesis, judged, ranked
from kooler.seq2seq.inside import attention_of, between_of, growth_of
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.reading import Sources, read
from kooler.seq2seq.report import filled_page
from kooler.seq2seq.report_attention import attention_section
from kooler.seq2seq.report_beam import BeamRow, BeamStep, beam_explanation, beam_steps
from kooler.seq2seq.report_growth import growing_title
from kooler.seq2seq.report_page import Section, places
from kooler.seq2seq.report_parts import order_name, pill, source_text
from kooler.seq2seq.report_text import escape, percent
from kooler.seq2seq.report_words import language_of, say, speaking
from kooler.seq2seq.rules import Rules, check_ranking
from kooler.seq2seq.tokenizer import Tokenizer
from kooler.seq2seq.watching import Halves, Moment, watch, watch_both
from kooler.seq2seq.writer import Writer

Search = Sequence[Moment]


def explain(
    writer: Writer,
    text: str,
    *,
    beam_size: int = 5,
    max_length: int | None = None,
    rank_by: str = "score",
) -> str:
    """Explains how the title of a text is written.

    Args:
        writer: A model and its tokenizer.
        text: The text.
        beam_size: Hypotheses kept at each step.
        max_length: Longest title in tokens; None is what the model was trained for.
        rank_by: Which candidate is the title, as `generate` takes it.

    Returns:
        A complete HTML page.

    Raises:
        ValueError: For a text without a token, or an unknown ranking.
    """
    check_ranking(rank_by)
    text = text.strip()
    ids = writer.encode(text)
    if not ids:
        raise ValueError("a text to explain must hold at least one token, received an empty one.")
    rules = Rules(beam_size, max_length or writer.model.max_length)
    sources = read(writer.model, np.array([ids], "int32"))
    searches = _searches(writer.model, sources, rules)
    best = ranked(_candidates(writer, sources, searches, rules), rank_by)[0]
    title = writer.decode(best.ids, text)
    language = language_of([text, title])
    with speaking(language):
        sections = _sections(writer, text, title, searches, escape(language))
        head = _title(title, language)
        if not sections[0][2]:  # the growing title shows its text itself
            head += source_text(text, escape(language))
        summary = _summary(writer, searches, best, rank_by)
        return filled_page(places(_heading(), summary, head, language, sections))


def write_explanation(path: Path, page: str) -> None:
    """Writes the page, whole or not at all."""
    write_text(path, page)


def _searches(model: Seq2Seq, sources: Sources, rules: Rules) -> dict[str, list[Moment]]:
    """The moments of each order; those of two streams are searched for together."""
    if model.writes_together:
        left, right = zip(*watch_both(model, sources, rules), strict=True)
        return {search[0].order: list(search) for search in (left, right)}
    return {order: list(watch(model, sources, order, rules)) for order in model.orders}


def _candidates(
    writer: Writer, sources: Sources, searches: dict[str, list[Moment]], rules: Rules
) -> list[Hypothesis]:
    """What "best" chooses from: the candidates of all orders, those first that all find likeliest.

    Two streams have seen each other; there each title has the score of its own direction.
    """
    if writer.model.writes_together:
        found = [one for search in searches.values() for one in search[-1].finished]
        return sorted(found, key=lambda one: -one.score)
    proposals = [[search[-1].finished] for search in searches.values()]
    return judged(writer.model, sources, proposals, rules)[0]


def _heading() -> str:
    return say("How a title came about")


def _title(title: str, language: str) -> str:
    shown = escape(title) or say("empty")
    return f'<p class="result"><strong lang="{escape(language)}" dir="auto">{shown}</strong></p>'


def _summary(
    writer: Writer, searches: dict[str, list[Moment]], best: Hypothesis, rank_by: str
) -> str:
    if writer.model.writes_together:
        summary = say(
            "Written {order}, while the other direction was seen: probability {share}.",
            order=say(order_name(best.order)),
            share=percent(exp(best.log_prob)),
        )
    else:
        summary = say(
            "Written {order}, and judged by {count} orders together: probability {share}.",
            order=say(order_name(best.order)),
            count=len(searches),
            share=percent(exp(best.log_prob)),
        )
    if rank_by == "score":
        return summary
    return f"{summary} {say('Of all candidates it is the one most like the others.')}"


def _sections(
    writer: Writer, text: str, title: str, searches: dict[str, list[Moment]], language: str
) -> list[Section]:
    both = "mid" in searches and bool(title)
    orders = sorted(searches, key=lambda order: order != "mid")  # both ends first
    beams = "".join(
        f"<h3>{pill(order)} {say(order_name(order))}</h3>"
        + beam_steps(_steps(searches[order], writer.tokenizer), language)
        for order in orders
    )
    together = writer.model.writes_together  # one stream has no attention
    looks = attention_of(writer, text, title, orders[0]) if title and not together else None
    growth = growing_title(growth_of(writer, text, title), language) if both else ""
    return [
        ("growth", say("Two ends growing together"), growth),
        ("beams", say("The beam, step by step"), f"<p>{beam_explanation()}</p>{beams}"),
        ("between", say("Between the two ends"), _between(writer, text, title, language, both)),
        ("attention", say("Attention"), attention_section(looks, language)),
    ]


def _between(writer: Writer, text: str, title: str, language: str, both: bool) -> str:
    if not both:
        return ""
    attention, (left, right) = between_of(writer, text, title)
    shares = say(
        "Of what the left end looks at in the title, {left} is at the right end; of what the right "
        "end looks at, {right} is at the left end.",
        left=percent(left),
        right=percent(right),
    )
    explanation = say(
        "Each row is a token of the title, each column a token of it that was written before, or a "
        "start tag; the stronger the colour, the more the decoder looked there."
    )
    return f"<p>{shares}</p>" + attention_section(attention, language, explanation)


def _steps(search: Search, tokenizer: Tokenizer) -> list[BeamStep]:
    """What is drawn of each moment of a search."""
    winner = search[-1].finished[0] if search[-1].finished else None
    known: set[tuple[int, ...]] = set()
    steps = []
    for number, moment in enumerate(search):
        later = search[number + 1] if number + 1 < len(search) else None
        rows = [_open(halves, moment, later, winner, tokenizer) for halves in moment.open]
        new = [found for found in moment.finished if found.ids not in known]
        known |= {found.ids for found in new}
        rows += [_finished(found, found is winner, tokenizer) for found in new]
        steps.append(BeamStep(rows))
    return steps


def _open(
    halves: Halves,
    moment: Moment,
    later: Moment | None,
    winner: Hypothesis | None,
    tokenizer: Tokenizer,
) -> BeamRow:
    left, right, log_prob = halves
    at_left, at_right = int(moment.order != "r2l"), int(moment.order != "l2r")
    cut = len(left) - at_left
    decode = tokenizer.decode
    old_left, old_right = decode(left[:cut]), decode(right[at_right:])
    return BeamRow(
        old_left,
        decode(left).removeprefix(old_left),
        decode(right).removesuffix(old_right),
        old_right,
        min(exp(log_prob), 1.0),
        goes_on=later is not None and _is_continued(halves, later),
        wins=winner is not None and _leads_to(halves, winner.ids),
    )


def _finished(found: Hypothesis, wins: bool, tokenizer: Tokenizer) -> BeamRow:
    text = tokenizer.decode(found.ids) or say("empty")
    return BeamRow(text, "", "", "", min(exp(found.log_prob), 1.0), wins=wins, finished=True)


def _is_continued(halves: Halves, later: Moment) -> bool:
    """Whether something in a later beam or pool begins and ends as a hypothesis does."""
    extended = any(
        part.left[: len(halves.left)] == halves.left
        and part.right[len(part.right) - len(halves.right) :] == halves.right
        for part in later.open
    )
    return extended or any(_leads_to(halves, found.ids) for found in later.finished)


def _leads_to(halves: Halves, ids: tuple[int, ...]) -> bool:
    left, right, _ = halves
    long_enough = len(ids) >= len(left) + len(right)
    return long_enough and ids[: len(left)] == left and ids[len(ids) - len(right) :] == right
