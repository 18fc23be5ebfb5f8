"""Capitals for a title that was written small, from the text that it is the title of.

A model that reads small letters needs fewer tokens, and sees that the Network of a heading is the
network of the text.  What it writes is small.  A text knows how its names are written, so each word
of the title takes

    the form that it has most often in the text, where the text has the word;
    no capital, where it does not;

and the first word starts with a capital.  In the text the first word of a sentence counts only if
it has a capital behind its first letter ("BERT reads …", but not "We read …"): it would be large in
any case.  Lita, Ittycheriah, Roukos, Kambhatla 2003, tRuEcasIng,
https://aclanthology.org/P03-1020/, learn forms from many texts; here one has to do.

Only capitals change: small, the title is what it was.
"""

import re
from collections import Counter, defaultdict

_WORDS = re.compile(r"[^\W_]+")
_SENTENCE_ENDS = frozenset(".!?:;")


def with_capitals(title: str, text: str) -> str:
    """A title with the capitals of its text.

    Args:
        title: A title in small letters.
        text: The text, as it is written.

    Example:
        >>> with_capitals("pruning bert on gpus", "We prune BERT. GPUs run it, and GPUs wait.")
        'Pruning BERT on GPUs'
    """
    forms = _forms(text)
    title = _WORDS.sub(lambda found: forms.get(found.group(), found.group()), title)
    first = _WORDS.search(title)
    if first is None or not first.group().islower():
        return title
    return _same_length(title, first.start())


def _forms(text: str) -> dict[str, str]:
    """How each word of a text is written most often; the first of equals."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for found in _WORDS.finditer(text):
        word = found.group()
        opens = _opens_a_sentence(text, found.start())
        plain = opens and not any(letter.isupper() for letter in word[1:])
        counts[word.lower()][word.lower() if plain else word] += 1
    return {word: count.most_common(1)[0][0] for word, count in counts.items()}


def _opens_a_sentence(text: str, start: int) -> bool:
    before = text[max(0, start - 8) : start].rstrip(" \t\n\"'“‘(«[")
    return not before or before[-1] in _SENTENCE_ENDS


def _same_length(title: str, start: int) -> str:
    """The letter at `start` as a capital, where that is one letter ("ß" has none)."""
    capital = title[start].upper()
    return title[:start] + capital + title[start + 1 :] if len(capital) == 1 else title
