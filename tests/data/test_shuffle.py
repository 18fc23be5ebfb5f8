"""Local shuffling: every sample once, in an order that a seed names."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.data import shuffle_buffer


def slowly(samples: list[int], size: int, seed: int) -> list[int]:
    """The definition: a buffer in which each newcomer takes a random place."""
    random = np.random.default_rng(seed)
    held, out = samples[:size], []
    for sample in samples[size:]:
        place = random.integers(len(held))
        out.append(held[place])
        held[place] = sample
    order = list(range(len(held)))
    random.shuffle(order)
    return out + [held[place] for place in order]


def test_it_is_its_definition() -> None:
    assert list(shuffle_buffer(range(50), 8, seed=3)) == slowly(list(range(50)), 8, 3)


def test_a_buffer_of_one_changes_nothing() -> None:
    assert list(shuffle_buffer(range(9), 1)) == list(range(9))


def test_a_buffer_of_all_makes_each_order_equally_likely() -> None:
    orders = Counter(tuple(shuffle_buffer("abc", 3, seed=seed)) for seed in range(1200))

    assert len(orders) == 6
    assert max(orders.values()) < 260 and min(orders.values()) > 150  # 200 ± 4.6 deviations


@settings(max_examples=50)
@given(st.integers(0, 40), st.integers(1, 12), st.integers(0, 5))
def test_each_sample_leaves_once_and_not_far_ahead(length: int, size: int, seed: int) -> None:
    order = list(shuffle_buffer(lambda: iter(range(length)), size, seed=seed))

    assert sorted(order) == list(range(length))
    assert all(sample - place < size for place, sample in enumerate(order))


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="received size=0"):
        shuffle_buffer([], 0)
