"""News briefs made by rule, and their headlines: a corpus without a download.

A brief reports one event among sentences that do not matter.  Its headline is a function of the
facts and of nothing else, so that an exact match is a fair score:

    The weather in Zuford was mild. Kolasa, a family firm based in Zuford, said on Monday that it
    would take over the bakery in Danwick. It put the sum at 4,200,000 crowns. The move follows
    a surge in orders.

    → Kolasa to buy Danwick bakery for 4.2m amid strong demand

To write it, a model must find the event, copy the right ones of several invented names, put one
verb for many, shorten the number, and see whether a cause is given.  Names are made of syllables
and drawn anew for every seed.  English and Chinese tell the same kinds of events.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from kooler.seq2seq.brief_facts import CAUSES, EVENTS, PLACES, Facts
from kooler.seq2seq.brief_languages import Chinese, English, Language
from kooler.seq2seq.corpus import Pair

_LANGUAGES: dict[str, Language] = {"en": English(), "zh": Chinese()}


def headline(facts: Facts, language: str = "en") -> str:
    """The headline of a brief, by rule.

    Example:
        >>> headline(Facts("Kolasa", "buy", "bakery", "Danwick", 4_200_000, "orders"))
        'Kolasa to buy Danwick bakery for 4.2m amid strong demand'
    """
    return _language(language).headline(facts)


def make_briefs(count: int, seed: int, language: str = "en") -> list[Pair]:
    """Makes briefs with their headlines; no two share a body or a headline.

    Args:
        count: How many.
        seed: Each gives other names, and so other briefs; the same gives the same.
        language: "en" or "zh".

    Raises:
        ValueError: If `count` is negative or `language` unknown.

    Example:
        >>> make_briefs(100, seed=0)[0].target
        'Moka to buy Samelford vineyard for 37m amid state aid'
    """
    if count < 0:
        raise ValueError(f"`count` must be at least 0, received count={count}.")
    draw = random.Random(f"{language} {seed}")
    return list(islice(_different(_endless(_language(language), draw)), count))


def splits(
    train: int, dev: int, test: int, seed: int, language: str = "en"
) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Three lists of briefs which share no body and no headline.

    Args:
        train: Number of briefs to learn from.
        dev: Number of briefs to choose by.
        test: Number of briefs to report on.
        seed: Each gives other names.
        language: "en" or "zh".

    Raises:
        ValueError: If a number is negative or `language` unknown.

    Example:
        >>> train, dev, test = splits(20_000, 500, 1_000, seed=0)
    """
    for name, count in (("train", train), ("dev", dev), ("test", test)):
        if count < 0:
            raise ValueError(f"`{name}` must be at least 0, received {name}={count}.")
    briefs = make_briefs(train + dev + test, seed, language)
    return briefs[:train], briefs[train : train + dev], briefs[train + dev :]


def _language(name: str) -> Language:
    if name not in _LANGUAGES:
        raise ValueError(f'`language` must be "en" or "zh", received language={name!r}.')
    return _LANGUAGES[name]


def _different(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Drops a pair of which a text was there already."""
    seen: set[str] = set()
    for pair in pairs:
        if seen.isdisjoint(pair):
            seen.update(pair)
            yield pair


def _endless(language: Language, draw: random.Random) -> Iterator[Pair]:
    while True:
        company, rival = _two_names(language.company, draw)
        home, site = _two_names(language.city, draw)
        facts = _facts(company, site, draw)
        sentences = _sentences(facts, home, rival, language, draw)
        yield Pair(language.between.join(sentences), language.headline(facts))


def _two_names(name: Callable[[random.Random], str], draw: random.Random) -> tuple[str, str]:
    first = second = name(draw)
    while first == second:
        second = name(draw)
    return first, second


def _facts(company: str, site: str, draw: random.Random) -> Facts:
    event = draw.choice(list(EVENTS))
    causes = [name for name, cause in CAUSES.items() if cause.is_good == EVENTS[event].is_good]
    scale = {None: None, "jobs": 10, "crowns": 10 ** draw.choice((4, 5, 6))}[EVENTS[event].unit]
    return Facts(
        company=company,
        event=event,
        place=draw.choice(list(PLACES)),
        site=site,
        number=scale and scale * draw.randint(2, 99),
        cause=draw.choice((None, draw.choice(causes))),
    )


def _sentences(
    facts: Facts, home: str, rival: str, language: Language, draw: random.Random
) -> list[str]:
    """The event comes first or second, all else in any order; 45 English words at most."""
    told = []
    if EVENTS[facts.event].unit == "crowns" and facts.number:
        told.append(language.price(facts.number, draw))
    if facts.cause:
        told.append(language.cause(facts.cause, draw))
    place, year = draw.choice(list(PLACES)), draw.randint(1900, 1999)
    asides = language.asides(home, facts.site, rival, place, year)
    others = told + draw.sample(asides, k=1 if len(told) == 2 else draw.choice((1, 2)))
    draw.shuffle(others)
    others.insert(draw.choice((0, 1)), language.event(facts, home, draw))
    return others
