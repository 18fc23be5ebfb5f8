"""Small parts that several sections of the report share."""

import re

from kooler.seq2seq.report_text import escape
from kooler.seq2seq.report_words import say

ORDERS = {
    "l2r": "left to right",
    "r2l": "right to left",
    "mid": "from both ends",
    "best": "best of all orders",
}
LONG_SOURCE = 320


def source_text(source: str, language: str) -> str:
    """Shows a source; of a long one the beginning, the rest on demand.

    Args:
        source: The text.
        language: Value of `lang`, already escaped.

    Returns:
        HTML.
    """
    attributes = f'class="source" lang="{language}" dir="auto"'
    if len(source) <= LONG_SOURCE:
        return f"<p {attributes}>{escape(source)}</p>"
    start = re.sub(r"\s+[a-zA-Z0-9]*$", "", source[: LONG_SOURCE - 60])  # no half word at the end
    return (
        f"<details {attributes}><summary>{escape(start)} …</summary>"
        f"<p>{escape(source)}</p></details>"
    )


def pill(order: str) -> str:
    """Makes the small badge of an order.

    Args:
        order: "l2r", …; others look plain.

    Returns:
        HTML, with what the order does as its title.
    """
    kind = f" {order}" if order in ORDERS else ""
    return f'<abbr class="pill{kind}" title="{escape(order_name(order))}">{escape(order)}</abbr> '


def order_name(order: str) -> str:
    """Says what an order does; a name that is not known stays as it is."""
    return say(ORDERS.get(order, order))


def order_label(name: str) -> str:
    """Makes the label of a row: badge and meaning of an order, or the plain name."""
    if name not in ORDERS:
        return escape(say(name))
    return f'{pill(name)}<span class="long">{order_name(name)}</span>'


def scroller_start(name: str) -> str:
    """Opens a box that scrolls sideways, also by keyboard; the caller closes the `div`.

    Args:
        name: What is in it, for screen readers.

    Returns:
        The opening tag.
    """
    return f'<div class="scroller" tabindex="0" role="region" aria-label="{name}">'
