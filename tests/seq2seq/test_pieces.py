import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq import pieces
from kooler.seq2seq.pieces import checked, learned_merges, most_frequent, sampled, splitter


def test_most_frequent_first_then_by_code_point():
    assert most_frequent(["cabab", "ad"], 3) == ["a", "b", "c"]
    assert most_frequent([["two", "one"], ["one"], ["six"]], 9) == ["one", "six", "two"]


def test_merges_of_a_case_done_by_hand():
    """ "ab" occurs 4 times, then " ab" 3 times; "c" is too rare for one of the two characters."""
    learned, merges = learned_merges(["ab ab", "abab c"], 6)

    assert learned == [" ", "a", "b", "ab", " ab"]
    assert merges == [("a", "b"), (" ", "ab")]


@given(st.text())
def test_the_parts_are_the_text(text):
    assert "".join(part for part, _ in splitter().pre_tokenize_str(text)) == text


def test_spaces_go_with_what_follows_and_digits_stand_alone():
    text = "  Hi,  you: 420 m² — naïve e-mail\n"

    parts = [part for part, _ in splitter().pre_tokenize_str(text)]

    assert parts == [
        *(" ", " Hi", ",", " ", " you", ":", " 4", "2", "0", " m", "²"),
        *(" —", " naïve", " e", "-", "mail", "\n"),
    ]


def test_a_small_corpus_is_the_sample():
    texts = ["one", "two", "", "three"]

    assert sampled(iter(texts)) == texts


def test_a_large_corpus_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE_CHARACTERS", 105_000)

    sample = sampled(f"{i:05d}" for i in range(20_000))

    positions = [int(text) for text in sample]
    assert 200 < len(sample) <= 1_000
    assert positions == sorted(positions)
    assert abs(sum(positions) / len(positions) - 10_000) < 1_000
    assert abs(sum(position % 2 for position in positions) / len(positions) - 0.5) < 0.1


def test_different_words_are_limited(monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE_WORD_CHARACTERS", 100)
    same = ["abcde fghij"] * 50
    different = [f"{i:05d}" for i in range(50)]

    assert sampled(same) == same
    assert 1 <= len(sampled(different)) <= 20


def test_the_number_of_texts_is_limited(monkeypatch):
    monkeypatch.setattr(pieces, "SAMPLE_CHARACTERS", 10_000)

    assert 20 < len(sampled(["a"] * 1_000)) < 100


def test_of_a_long_text_the_start(monkeypatch):
    monkeypatch.setattr(pieces, "LONGEST_SAMPLE", 4)

    assert sampled(["abcdefgh"]) == ["abcd"]


def test_rare_units_are_forgotten_where_there_are_too_many(monkeypatch):
    monkeypatch.setattr(pieces, "MAXIMUM_UNITS", 10)
    texts = [["often", f"{i}"] for i in range(1_000)] + [["last", "often"]]

    assert most_frequent(texts, 1) == ["often"]
    assert len(most_frequent(texts, 1_000)) <= 10


def test_nothing_to_learn_from():
    for texts in ([], [""], [" ", "\n"]):
        with pytest.raises(ValueError, match=r"^there is no text to learn a vocabulary from\.$"):
            list(checked(texts))
    assert list(checked(iter(["", "a"]))) == ["", "a"]


def test_sampling_does_not_touch_the_state_of_random():
    random.seed(5)
    expected = random.random()
    random.seed(5)

    sampled(["a"])

    assert random.random() == expected
