"""Near-duplicates: those of the slow comparison of all with all, and no others."""

import random

import pytest

from kooler.seq2seq.harvest.near_duplicates import (
    NearDuplicates,
    jaccard,
    triples_of,
)


def varied(generator, words, changes):
    """A text with some words replaced by new ones."""
    words = list(words)
    for place in generator.sample(range(len(words)), changes):
        words[place] = f"new{generator.randrange(10**6)}"
    return " ".join(words)


def test_it_finds_what_the_slow_comparison_finds():
    generator = random.Random(0)
    known = [[f"w{generator.randrange(500)}" for _ in range(40)] for _ in range(60)]
    asked = [varied(generator, known[i % 60], i % 12) for i in range(240)]
    index = NearDuplicates(0.5)
    for words in known:
        index.add(" ".join(words))

    def slow(text):
        return max(jaccard(triples_of(text), triples_of(" ".join(words))) for words in known)

    near = [slow(text) >= 0.5 for text in asked]
    found = [index.has_near(text) for text in asked]
    assert 60 < sum(near) < 200
    assert not any(f and not n for f, n in zip(found, near, strict=True))
    assert sum(found) >= 0.97 * sum(near)


@pytest.mark.parametrize(
    ("first", "second", "similarity"),
    [
        ("a b c d", "A, b; c? D!", 1.0),
        ("a b c d", "a b c e", 1 / 3),
        ("a b c", "d e f", 0.0),
        ("船沉了吗", "船沉了。吗", 1.0),
        ("船沉了吗", "船沉了", 0.5),
        ("?", "!", 0.0),
    ],
)
def test_similarity_that_can_be_counted(first, second, similarity):
    assert jaccard(triples_of(first), triples_of(second)) == similarity


def test_what_is_near_is_named_by_its_number():
    known = NearDuplicates()
    for text in ("a text of six other words", "the quick brown fox jumps over the lazy dog"):
        known.add(text)

    assert known.near("The quick brown fox jumps over the lazy cat.") == {1}
    assert known.near("nothing like any of it") == set()
