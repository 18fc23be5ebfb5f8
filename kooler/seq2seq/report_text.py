"""Text for the report: nothing that was read from a corpus may act as markup."""

import html
import re
import unicodedata

# Control characters (HTML forbids them) and halves of surrogate pairs (UTF-8 forbids them).
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def escape(value: object) -> str:
    """Makes any value safe inside HTML text and quoted attributes.

    Args:
        value: Anything; shown as `str` shows it.

    Returns:
        The text with markup escaped and characters that HTML forbids replaced by U+FFFD.

    Example:
        >>> escape('<b> & "quotes"')
        '&lt;b&gt; &amp; &quot;quotes&quot;'
    """
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)))


def columns(text: str) -> float:
    """Width of a text in letters: a Chinese character takes as much as two.

    Args:
        text: One line.

    Returns:
        The number of narrow characters that would take the same space.
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def shorten(text: str, width: int) -> str:
    """Cuts a label.

    Args:
        text: One line.
        width: Greatest width in `columns`.

    Returns:
        The text, or its beginning with an ellipsis.
    """
    if columns(text) <= width:
        return text
    kept = ""
    while columns(kept + text[len(kept)]) < width:
        kept += text[len(kept)]
    return kept + "…"


def percent(share: float) -> str:
    """A probability as people read it: rounded, but never rounded to sure or to never.

    Args:
        share: From 0 to 1.

    Returns:
        "97 %", "<1 %", ">99 %", or "100 %" for exactly 1; not escaped.
    """
    if 0 < share < 0.01:
        return "<1\u202f%"
    if 0.995 <= share < 1:
        return ">99\u202f%"
    return f"{100 * share:.0f}\u202f%"
