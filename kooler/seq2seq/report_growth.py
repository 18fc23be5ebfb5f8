"""A title that grows from both ends, drawn step by step."""

from collections.abc import Iterator, Sequence

from kooler.seq2seq.report_data import Growth, WrittenToken
from kooler.seq2seq.report_parts import source_text
from kooler.seq2seq.report_text import escape, percent
from kooler.seq2seq.report_words import say


def growing_title(growth: Growth | None, language: str) -> str:
    """Shows every step, one below the other; the page's script makes them a player.

    Args:
        growth: The steps, or nothing.
        language: Value of `lang`, already escaped.

    Returns:
        HTML, empty if there is nothing.
    """
    if growth is None:
        return ""
    last = len(growth.steps) - 1
    words = any(_is_apart(token) for token, _, _ in _placed(growth) if not token.ends)
    kind = "title words" if words else "title"
    steps = [
        f'<div class="{kind}" lang="{language}">{"".join(_stage(growth, step))}</div>'
        f'<p class="caption">{_caption(growth, step)}</p>'
        for step in range(last + 1)
    ]
    note = f" {escape(growth.note)}" if growth.note else ""
    return (
        f"<p>{_explanation()}{note}</p>"
        f"{source_text(growth.source, language)}"
        f"{player(steps)}"
        f'<p class="result">{say("The title: ")}<strong lang="{language}" dir="auto">'
        f"{escape(growth.title)}</strong></p>"
    )


def player(steps: Sequence[str]) -> str:
    """Shows steps one below the other; the page's script makes them one at a time.

    Args:
        steps: The HTML of each.
    """
    items = "".join(f"<li>{step}</li>" for step in steps)
    return (
        f'<div class="player" data-player data-play="{say("Play")}" '
        f'data-pause="{say("Pause")}" data-place="{say("{now} of {all}")}">'
        '<div class="controls" hidden>'
        f'<button type="button" data-go="back" aria-label="{say("One step back")}">◂</button>'
        f'<button type="button" data-go="play">{say("Play")}</button>'
        f'<button type="button" data-go="next" aria-label="{say("One step on")}">▸</button>'
        f'<label>{say("Step")} <input type="range" min="0" max="{len(steps) - 1}" value="0" '
        f'step="1" aria-label="{say("Step")}"></label>'
        f"<output>{say('{now} of {all}', now=1, all=len(steps))}</output>"
        f'<button type="button" data-go="all" aria-pressed="false">{say("All steps")}</button>'
        f'</div><ol class="steps" aria-live="polite">{items}</ol></div>'
    )


def _explanation() -> str:
    return say(
        "At every step the model writes one token at the {left} end and one at the {right} end, "
        "both at once, until the halves meet. Below each token: how sure the model was.",
        left=f"<em class='l'>{say('left')}</em>",
        right=f"<em class='r'>{say('right')}</em>",
    )


def _placed(growth: Growth) -> Iterator[tuple[WrittenToken, str, int]]:
    """All tokens as they read in the finished title, with their side and step."""
    steps = list(enumerate(growth.steps))
    for number, step in steps:
        yield from ((token, "l", number) for token in step.left)
    for number, step in reversed(steps):
        yield from ((token, "r", number) for token in reversed(step.right))


def _stage(growth: Growth, now: int) -> Iterator[str]:
    """One step of the picture: places that are not written yet are kept free."""
    for token, side, step in _placed(growth):
        text = say("end") if token.ends else token.text.strip() or "␠"
        kind = " end" if token.ends else ""
        gap = " apart" if _is_apart(token) else ""
        if step > now:
            yield f'<span class="hole{kind}{gap}" aria-hidden="true"><i>{escape(text)}</i></span>'
            continue
        new = " new" if step == now else ""
        yield (
            f'<span class="token {side}{new}{kind}{gap}" style="--sure:{token.probability:.3f}">'
            f"<bdi>{escape(text)}</bdi><small>{escape(percent(token.probability))}</small></span>"
        )


def _is_apart(token: WrittenToken) -> bool:
    return token.ends or token.text[:1].isspace()


def _caption(growth: Growth, now: int) -> str:
    step = growth.steps[now]
    ends = [("left", token) for token in step.left] + [("right", token) for token in step.right]
    parts = [
        say("the halves have met ({share})", share=percent(token.probability))
        if token.ends
        else say(
            "{side} “{token}” ({share})",
            side=say(side),
            token=token.text.strip(),
            share=percent(token.probability),
        )
        for side, token in ends
    ]
    together = say(", ").join(parts) or say("nothing")
    return escape(say("Step {number}: {parts}.", number=now + 1, parts=together))
