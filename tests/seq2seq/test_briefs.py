import os
import subprocess
import sys
from itertools import chain, product

import pytest

from kooler.seq2seq.brief_facts import CAUSES, EVENTS, PLACES, Facts
from kooler.seq2seq.briefs import headline, make_briefs, splits

LANGUAGES = ["en", "zh"]


@pytest.mark.parametrize(
    ("facts", "english", "chinese"),
    [
        (
            Facts("Kolasa", "buy", "bakery", "Danwick", 4_200_000, "orders"),
            "Kolasa to buy Danwick bakery for 4.2m amid strong demand",
            "受需求旺盛影响，Kolasa420万元收购Danwick面包厂",
        ),
        (
            Facts("Mo", "sell", "solar farm", "Zuford", 990_000_000),
            "Mo to sell Zuford solar farm for 990m",
            "Mo9.9亿元出售Zuford光伏电站",
        ),
        (
            Facts("Mo", "revamp", "museum", "Zuford", 20_000),
            "Mo to revamp Zuford museum for 20k",
            "Mo2万元改造Zuford博物馆",
        ),
        (
            Facts("Mo", "close", "museum", "Zuford", cause="rain"),
            "Mo to close Zuford museum amid floods",
            "受洪灾影响，Mo关闭Zuford博物馆",
        ),
        (
            Facts("Mo", "cut", "shipyard", "Zuford", 340, "unions"),
            "Mo to cut 340 jobs at Zuford shipyard amid labour dispute",
            "受劳资纠纷影响，Mo裁减Zuford船厂340个岗位",
        ),
        (Facts("Mo", "open", "shipyard", "Zu"), "Mo to open Zu shipyard", "Mo启用Zu船厂"),
    ],
)
def test_headline_of_facts(facts, english, chinese):
    assert headline(facts) == english
    assert headline(facts, "zh") == chinese


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_short_form_means_one_thing(language):
    """No word in a body stands for two events or causes, or the headline could not be told."""
    for table in (EVENTS, CAUSES):
        wordings = [
            entry.english if language == "en" else entry.chinese for entry in table.values()
        ]
        told = list(chain.from_iterable(wording.told for wording in wordings))
        assert len(set(told)) == len(told)
        assert not any(one in other for one, other in product(told, told) if one != other)
        assert len({wording.short for wording in wordings}) == len(table)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_body_tells_all_that_the_headline_needs(language):
    """Reads the facts back from the bodies, and gets the headlines."""
    for body, title in make_briefs(300, seed=4, language=language):
        known = [
            facts
            for facts in _facts_told(body, title, language)
            if headline(facts, language) == title
        ]
        assert len(known) == 1, (body, title)


def _facts_told(body, title, language):
    """All facts that agree with the words of a body; names are looked up in the headline."""
    wording = 2 if language == "en" else 3
    events = [name for name, event in EVENTS.items() if any(w in body for w in event[wording].told)]
    causes = [name for name, c in CAUSES.items() if any(w in body for w in c[wording - 1].told)]
    places = [place for place in PLACES if (place if language == "en" else PLACES[place]) in body]
    names = _names(body, language)
    numbers = _numbers(body)
    for event, place, cause, company, site, number in product(
        events, places, causes or [None], names, names, numbers or [None]
    ):
        if company in title and site in title:
            needed = number if EVENTS[event].unit else None
            yield Facts(company, event, place, site, needed, cause)


def _names(body, language):
    if language == "en":
        return {word.strip(".,") for word in body.split() if word[0].isupper()}
    return {body[i : i + n] for i in range(len(body)) for n in (2, 3)}


def _numbers(body):
    digits = "".join(c if c.isdigit() or c == "," else " " for c in body).replace(",", "")
    return {int(number) for number in digits.split() if len(number) != 4}


@pytest.mark.parametrize("language", LANGUAGES)
def test_splits_share_nothing(language):
    train, dev, test = splits(600, 100, 200, seed=1, language=language)

    assert [len(train), len(dev), len(test)] == [600, 100, 200]
    bodies, titles = zip(*train, *dev, *test, strict=True)
    assert len(set(bodies)) == len(set(titles)) == 900
    assert [*train, *dev, *test] == make_briefs(900, 1, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_seed_gives_new_ones(language):
    one, other = (make_briefs(300, seed, language) for seed in (1, 2))

    assert not {text for pair in one for text in pair} & {text for pair in other for text in pair}


@pytest.mark.parametrize("language", LANGUAGES)
def test_briefs_are_short_and_on_one_line(language):
    briefs = make_briefs(2000, seed=3, language=language)

    longest = max(len(body.split() if language == "en" else body) for body, _ in briefs)
    assert longest <= (45 if language == "en" else 90)
    assert not any(set("\t\n\r") & set(body + title) for body, title in briefs)
    assert all(text == text.strip() for brief in briefs for text in brief)


def test_the_event_is_not_always_the_first_sentence():
    briefs = make_briefs(300, seed=3)

    first = [title.split()[0] in body.split(". ")[0] for body, title in briefs]

    assert 0.3 < sum(first) / len(first) < 0.7


def test_most_that_can_happen_happens():
    titles = " ".join(title for _, title in make_briefs(500, seed=0))

    for short in [entry.english.short for table in (EVENTS, CAUSES) for entry in table.values()]:
        assert f" {short} " in titles
    assert 0.3 < titles.count(" amid ") / 500 < 0.7


def test_the_same_for_every_hash_seed():
    script = "from kooler.seq2seq.briefs import make_briefs; print(make_briefs(20, 7)[-1])"

    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert outputs == {f"{make_briefs(20, 7)[-1]}\n"}


def test_the_example_of_the_documentation():
    assert (
        make_briefs(100, seed=0)[0].target
        == "Moka to buy Samelford vineyard for 37m amid state aid"
    )


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r'^`language` must be "en" or "zh", received language='):
        make_briefs(1, 0, "de")
    with pytest.raises(ValueError, match=r"^`count` must be at least 0, received count=-1\.$"):
        make_briefs(-1, 0)
    with pytest.raises(ValueError, match=r"^`dev` must be at least 0, received dev=-2\.$"):
        splits(1, -2, 3, 0)
