"""Several sources in one row: who has a turn, and that nobody is forgotten."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.data import Stream, interleave
from tests.data.sources import Noisy, Numbered


def slow(lengths: Any, weights: Any, seed: int, until: str) -> list[tuple[int, int]]:
    """What `interleave` says, word by word: (source, number) of each sample."""
    random = np.random.default_rng(seed)
    taken, found = [0] * len(lengths), []
    gone: set[int] = set()
    while True:
        turn = random.random()
        while True:
            shares = [0.0 if until == "all" and i in gone else w for i, w in enumerate(weights)]
            source = next(
                (i for i in range(len(shares)) if turn < sum(shares[: i + 1]) / sum(shares)),
                len(shares) - 1,
            )
            if taken[source] < lengths[source] or (until == "repeat" and source in gone):
                break
            gone.add(source)
            if until == "first" or len(gone) == len(lengths):
                return found
        found.append((source, taken[source] % lengths[source]))
        taken[source] += 1


def named(length: int, name: int) -> list[tuple[int, int]]:
    return [(name, number) for number in range(length)]


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@settings(max_examples=40)
@given(LENGTHS, st.data(), st.integers(0, 99), st.sampled_from(["all", "first", "repeat"]))
def test_the_turns_are_drawn_by_weight(lengths: Any, data: Any, seed: int, until: str) -> None:
    number = len(lengths)
    weights = data.draw(st.lists(st.integers(1, 4), min_size=number, max_size=number))
    sources = [named(length, name) for name, length in enumerate(lengths)]
    expected = slow(lengths, weights, seed, until)

    mixed = interleave(sources, weights, seed=seed, until=until)
    front_to_back = interleave(
        [lambda source=source: iter(source) for source in sources], weights, seed=seed, until=until
    )

    assert list(mixed) == expected
    assert list(front_to_back) == expected


def test_all_means_exactly_once_and_repeat_at_least_once() -> None:
    sources = [range(100), range(100, 103), range(103, 2000)]

    assert sorted(interleave(sources, [1, 5, 2])) == list(range(2000))
    counts = Counter(interleave(sources, [1, 5, 2], until="repeat"))
    assert set(counts) == set(range(2000))
    assert max(counts[i] for i in (100, 101, 102)) > 100
    once = Counter(interleave(sources, [1, 5, 2], until="first"))
    assert max(once.values()) == 1


def test_shares_are_the_weights() -> None:
    mixed = interleave([[0] * 9000, [1] * 9000], [3, 1], until="first")

    assert len(mixed) == pytest.approx(12_000, rel=0.03)
    assert np.mean(list(mixed)) == pytest.approx(0.25, abs=0.02)


def test_one_source_is_itself() -> None:
    assert list(interleave([range(5)])) == list(range(5))
    assert list(interleave([lambda: iter(range(5))])) == list(range(5))


def test_a_sample_is_found_by_its_number_alone() -> None:
    mixed = interleave([range(3000), range(3000, 5000)], [2, 1], seed=4)
    whole = list(interleave([iter(range(3000)), iter(range(3000, 5000))], [2, 1], seed=4))

    assert [mixed[i] for i in (4999, 0, 1023, 1024, 1025, -1)] == [
        whole[i] for i in (4999, 0, 1023, 1024, 1025, -1)
    ]
    with pytest.raises(IndexError):
        mixed[5000]


def test_a_stream_of_a_mixture_goes_on_where_it_was_with_other_workers() -> None:
    def make(workers: int) -> Stream:
        mixed = interleave([Noisy(7), Noisy(5)], [1, 2])
        return Stream(mixed, batch_size=4, shuffle=True, workers=workers, processes=False)

    whole, resumed = make(0), make(2)
    for _ in range(4):
        next(whole)
    resumed.restore(whole.state())

    for _ in range(5):
        for mine, theirs in zip(next(whole), next(resumed), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_stream_of_a_generated_mixture_goes_on_where_it_was() -> None:
    def samples(first: int) -> Any:
        return lambda: iter(Numbered(first + 9)[i] for i in range(first, first + 9))

    def make() -> Stream:
        return Stream(lambda: interleave([samples(0), samples(20)], [1, 2]), batch_size=4)

    whole, resumed = make(), make()
    for _ in range(7):
        next(whole)
    resumed.restore(whole.state())

    np.testing.assert_array_equal(next(whole)[1], next(resumed)[1])


def test_columns_and_tables_are_mixed_row_by_row() -> None:
    columns = (np.arange(3), {"b": np.arange(3) * 2})
    expected = [(0, {"b": 0}), (1, {"b": 2}), (2, {"b": 4})]

    assert list(interleave([columns])) == expected
    rows = list(interleave([columns, lambda: iter([7])]))

    assert sorted(rows, key=str) == sorted([*expected, 7], key=str)


def test_nothing_is_read_before_its_turn() -> None:
    read = []

    def samples() -> Iterator[int]:
        for number in range(10):
            read.append(number)
            yield number

    mixed = interleave([samples, samples])
    assert read == []
    next(iter(mixed))
    assert len(read) == 1


@pytest.mark.parametrize(
    ("sources", "arguments", "text"),
    [
        ([], {}, "at least one source"),
        ([[1], [2]], {"weights": [1]}, r"for each of the 2 sources, received weights=\[1\]"),
        ([[1], [2]], {"weights": [1, 0]}, "Leave out a source that is never to come"),
        ([[1], [2]], {"weights": [1, float("nan")]}, "must be a positive number"),
        ([[1]], {"until": "ever"}, "one of all, first, repeat, received until='ever'"),
        ([[1], []], {}, r"must have samples, received lengths \[1, 0\]"),
        ([iter([1])], {"until": "repeat"}, "a list_iterator can be run through only once"),
    ],
)
def test_what_cannot_be_is_refused(sources: Any, arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){text}"):
        interleave(sources, **arguments)


def test_a_source_without_samples_cannot_be_repeated() -> None:
    with pytest.raises(ValueError, match="Source 1 has no samples"):
        list(interleave([lambda: iter([1]), lambda: iter([])], until="repeat"))
