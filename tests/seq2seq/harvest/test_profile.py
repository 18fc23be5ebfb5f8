"""A profile: numbers that can be counted, and a verdict that says why."""

import pytest

from kooler.seq2seq.harvest.profile import Profile, lines, profile, verdict
from kooler.seq2seq.harvest.record import Record
from kooler.seq2seq.harvest.splitting import Split

GOOD = Profile(
    (5000, 500, 500),
    7,
    (50, 90),
    (6, 9),
    70.0,
    2.0,
    {"lead": 20.0, "first sentence": 25.0, "best sentence": 18.0, "nearest title": 30.0},
)


def test_shares_and_lengths_are_counted_on_the_test_set():
    test = [
        Record("one two three four", "two five"),  # half of its words
        Record("one two three", "One two"),  # all of them, word for word
    ]
    train = [Record("six seven eight", "some title")] * 3

    found = profile(Split(train, train[:1], test, 4))

    assert (found.pairs, found.dropped) == ((3, 1, 2), 4)
    assert (found.overlap, found.leaks) == (75.0, 50.0)
    assert (found.source_words, found.target_words) == ((4, 4), (2, 2))
    assert found.rouge_l["lead"] == pytest.approx(75.0)  # "one two" for both: a half, and all


def test_a_good_corpus_is_called_one():
    assert verdict(GOOD) == [
        "It makes a title task: the words are there, and copying does not do it (`first sentence`: "
        "25 ROUGE-L)."
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pairs": (1, 1, 1)}, "1 pair to learn from are few; 2,000 are a beginning."),
        (
            {"rouge_l": {**GOOD.rouge_l, "lead": 80.0}},
            "Copying is nearly enough: `lead` reaches 80 ROUGE-L.",
        ),
        (
            {"overlap": 20.0},
            "Only 20 % of the words of a title are in its text; the rest would be guessed.",
        ),
        (
            {"rouge_l": {**GOOD.rouge_l, "nearest title": 55.0}},
            "The titles repeat each other: the nearest one of train reaches 55.",
        ),
    ],
    ids=["few", "copied", "guessed", "repeated"],
)
def test_what_speaks_against_it_is_said(changes, reason):
    assert verdict(GOOD._replace(**changes)) == [f"It hardly makes a title task. {reason}"]


def test_the_table_names_its_numbers():
    table = lines(GOOD)

    assert table[0] == "pairs                    5,000 train, 500 dev, 500 test"
    assert table[-2] == "ROUGE-L, nearest title   30.0"
