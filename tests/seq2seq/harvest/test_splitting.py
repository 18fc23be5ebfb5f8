"""A split: newest last, nothing near on two sides, the same each time."""

import random

import pytest

from kooler.seq2seq.harvest.record import Record
from kooler.seq2seq.harvest.splitting import split


def text(number):
    generator = random.Random(number)
    return " ".join(f"w{generator.randrange(1000)}" for _ in range(12))


RECORDS = [Record(text(number), f"title {number}", number) for number in range(50)]


def test_by_time_the_newest_are_test_and_those_before_dev():
    parts = split(RECORDS[::-1], 0.1, by_time=True)

    assert [r.time for r in parts.dev] == list(range(40, 45))
    assert [r.time for r in parts.test] == list(range(45, 50))
    assert len(parts.train) == 40


def test_by_chance_is_the_same_whatever_the_order():
    parts = split(RECORDS, 0.2)

    assert parts == split(RECORDS[::-1], 0.2)
    assert (len(parts.train), len(parts.dev), len(parts.test)) == (30, 10, 10)
    assert {r.time for r in parts.test} != set(range(40, 50))


def test_what_is_near_to_an_earlier_part_is_dropped():
    records = [
        *RECORDS,
        Record(text(3) + " more", "near to train", 50),
        Record(text(60), "dev", 51),
        Record(text(60) + " more", "near to dev", 52),
        Record(text(61), "test", 53),
    ]

    parts = split(records, 2 / 54, by_time=True)

    assert [r.target for r in parts.dev] == ["dev"]
    assert [r.target for r in parts.test] == ["test"]
    assert parts.dropped == 2


@pytest.mark.parametrize(
    ("count", "share", "message"),
    [
        (50, 0.5, "`share` must be above 0 and below 0.5, received share=0.5."),
        (2, 0.4, "a corpus of 2 pairs is too small to be divided with share=0.4."),
        (4, 0.1, "a corpus of 4 pairs is too small to be divided with share=0.1."),
    ],
)
def test_what_cannot_be_divided_is_told(count, share, message):
    with pytest.raises(ValueError) as raised:
        split(RECORDS[:count], share)

    assert str(raised.value).startswith(message)


def test_a_part_that_would_be_empty_is_told():
    records = [Record("the very same words again and again", "t", n) for n in range(10)]

    with pytest.raises(ValueError, match="of 2 pairs for dev and test 2 are nearly the same"):
        split(records, 0.1, by_time=True)
