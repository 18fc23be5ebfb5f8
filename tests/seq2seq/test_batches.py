from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.seq2seq.batches import Batches, Shape, buckets, evaluation_batches, padded
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.spool import Spool


def spell(texts):
    """One id a word: its number, from 6."""
    return [[6 + int(word) for word in text.split()] for text in texts]


def make_spool(path, lengths, source_length=64, target_length=16):
    """A spool of pairs of these lengths; all ids of pair i are 6 + i."""
    return Spool.build(
        path,
        [Pair(f"{i} " * source, f"{i} " * target) for i, (source, target) in enumerate(lengths)],
        spell,
        fingerprint="",
        vocabulary_size=6 + len(lengths),
        source_length=source_length,
        target_length=target_length,
    )


@pytest.fixture(scope="module")
def spool(tmp_path_factory):
    random = np.random.default_rng(0)
    source = np.minimum(random.geometric(0.05, 1000), 64)
    target = np.minimum(1 + source // 6 + random.integers(0, 4, 1000), 16)
    return make_spool(
        tmp_path_factory.mktemp("spool"), list(zip(source.tolist(), target.tolist(), strict=True))
    )


def pairs_of(batch, spool):
    """The numbers of the pairs in a batch, after a check that they are there whole."""
    numbers = []
    for source, target in zip(batch["source"], batch["target"], strict=True):
        number = int(source[0]) - 6
        if number == -6:
            assert not source.any()
            assert not target.any()
            continue
        ids = spool[number]
        assert source.tolist() == ids[0].tolist() + [0] * (len(source) - len(ids[0]))
        assert target.tolist() == ids[1].tolist() + [0] * (len(target) - len(ids[1]))
        numbers.append(number)
    return numbers


def epoch(batches, number=0):
    updates = batches.updates_per_epoch
    return [batches[update] for update in range(number * updates, (number + 1) * updates)]


def test_a_case_done_by_hand(tmp_path):
    """Five pairs of 3 + 2 ids; in a batch of 30 ids there is room for two of 8 + 4."""
    spool = make_spool(tmp_path, [(3, 2)] * 5)

    batches = Batches(spool, batch_tokens=30, seed=0)

    assert batches.shapes == [Shape(2, 8, 4)]
    assert batches.updates_per_epoch == 3
    assert batches.padding == 1 - 25 / 72
    assert batches.summary() == "3 updates an epoch, 1 shape, 65 % padding"
    assert sorted(len(pairs_of(batch, spool)) for batch in epoch(batches)) == [1, 2, 2]


def test_every_pair_comes_once_an_epoch(spool):
    batches = Batches(spool, batch_tokens=512, seed=3)

    for number in (0, 1, 5):
        seen = Counter(n for batch in epoch(batches, number) for n in pairs_of(batch, spool))
        assert seen == Counter(range(len(spool)))


@settings(max_examples=30)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 64), st.integers(1, 16)), min_size=1, max_size=60),
    batch_tokens=st.integers(80, 400),
    maximum_shapes=st.integers(1, 9),
)
def test_the_promises(tmp_path_factory, lengths, batch_tokens, maximum_shapes):
    spool = make_spool(tmp_path_factory.mktemp("spool"), lengths)
    options = {"batch_tokens": batch_tokens, "maximum_shapes": maximum_shapes}

    batches = Batches(spool, seed=1, **options)
    all_batches = epoch(batches)

    assert len(batches.shapes) <= maximum_shapes
    for batch in all_batches:
        assert batch["source"].dtype == batch["target"].dtype == np.int32
        shape = Shape(*batch["source"].shape, batch["target"].shape[1])
        assert shape in batches.shapes
        assert shape.rows * (shape.source + shape.target) <= batch_tokens
        assert np.count_nonzero(batch["source"][:, 0]) in (shape.rows, shape.rows - 1)
    numbers = [number for batch in all_batches for number in pairs_of(batch, spool)]
    assert sorted(numbers) == list(range(len(lengths)))
    ids = sum(batch["source"].size + batch["target"].size for batch in all_batches)
    assert batches.padding == pytest.approx(1 - np.sum(lengths) / ids)

    measured = list(evaluation_batches(spool, **options))
    indices = np.concatenate([batch.indices for batch in measured])
    assert sorted(indices[indices >= 0]) == list(range(len(lengths)))


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in ("source", "target"))


def test_an_update_depends_on_nothing_but_seed_and_number(spool):
    batches = Batches(spool, batch_tokens=512, seed=3)
    in_order = epoch(batches, 0) + epoch(batches, 1)
    again = Batches(spool, batch_tokens=512, seed=3)

    for update in np.random.default_rng(0).permutation(len(in_order)):
        assert same(again[update], in_order[update])


def test_epochs_and_seeds_differ(spool):
    batches, other = (Batches(spool, batch_tokens=512, seed=seed) for seed in (0, 1))
    first, second = epoch(batches, 0), epoch(batches, 1)

    assert not any(same(a, b) for a, b in zip(first, second, strict=True))
    assert not any(same(a, b) for a, b in zip(first, epoch(other, 0), strict=True))
    assert len({batch["source"].shape for batch in first[:10]}) > 1  # not bucket after bucket


def test_the_state_of_numpy_is_not_touched(spool):
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)

    Batches(spool, batch_tokens=512, seed=0)[0]

    assert np.random.random() == expected


def test_similar_lengths_are_together(spool):
    one = Batches(spool, batch_tokens=512, seed=0, maximum_shapes=1)
    eight = Batches(spool, batch_tokens=512, seed=0)

    assert len(one.shapes) == 1
    assert 4 <= len(eight.shapes) <= 8
    assert one.padding > 0.6
    assert eight.padding < 0.35


def test_a_shape_must_be_worth_its_compilation(tmp_path):
    """One short pair among 200 long ones does not get a shape of its own; 100 of them do."""
    few = make_spool(tmp_path / "few", [(64, 16)] * 200 + [(1, 1)])
    many = make_spool(tmp_path / "many", [(64, 16)] * 200 + [(1, 1)] * 100)

    assert Batches(few, batch_tokens=320, seed=0).shapes == [Shape(4, 64, 16)]
    assert Batches(many, batch_tokens=320, seed=0).shapes == [Shape(4, 64, 16), Shape(25, 8, 4)]


def test_lengths_never_exceed_the_limits_of_the_spool(tmp_path):
    spool = make_spool(tmp_path, [(60, 9), (13, 10)], source_length=61, target_length=10)

    shapes = Batches(spool, batch_tokens=200, seed=0).shapes

    assert shapes == [Shape(2, 61, 10)]


def test_evaluation_keeps_a_fixed_order_and_says_what_is_where(spool):
    batches = list(evaluation_batches(spool, batch_tokens=512))

    for indices, source, target in batches:
        real = [i for i in indices.tolist() if i >= 0]
        assert real == sorted(real)
        assert pairs_of({"source": source, "target": target}, spool) == real
        assert indices.tolist() == real + [-1] * (len(indices) - len(real))
    assert len({(b.source.shape, b.target.shape) for b in batches}) <= 4
    for one, other in zip(batches, evaluation_batches(spool, batch_tokens=512), strict=True):
        assert np.array_equal(one.indices, other.indices)


def test_padded_rows(tmp_path):
    spool = make_spool(tmp_path, [(1, 2), (3, 1)])

    source, target = padded(spool, np.array([1, 0], np.int32), Shape(3, 3, 2))

    assert source.tolist() == [[7, 7, 7], [6, 0, 0], [0, 0, 0]]
    assert target.tolist() == [[7, 0], [6, 6], [0, 0]]


def test_buckets_hold_every_pair_once(spool):
    groups = buckets(spool, batch_tokens=512, maximum_shapes=8)

    assert sorted(np.concatenate([group.pairs for group in groups])) == list(range(len(spool)))
    for shape, pairs, count in groups:
        assert (spool.source_lengths[pairs] <= shape.source).all()
        assert (spool.target_lengths[pairs] <= shape.target).all()
        assert (count - 1) * shape.rows < len(pairs) <= count * shape.rows


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"batch_tokens": 79},
            r"^`batch_tokens` must be at least 80, which the longest source and target take, "
            r"received batch_tokens=79\. Raise it, or lower `source_length` or `target_length`\.$",
        ),
        ({"seed": -1}, r"^`seed` must be at least 0, received seed=-1\.$"),
        ({"maximum_shapes": 0}, r"^`maximum_shapes` must be at least 1, received maximum_shapes="),
    ],
)
def test_wrong_arguments(spool, arguments, problem):
    with pytest.raises(ValueError, match=problem):
        Batches(spool, **{"batch_tokens": 512, "seed": 0} | arguments)


def test_updates_count_from_zero(spool):
    with pytest.raises(IndexError, match=r"^updates count from 0, received update=-1$"):
        Batches(spool, batch_tokens=512, seed=0)[-1]


def test_the_pairs_of_an_update_are_those_of_its_rows(spool):
    batches = Batches(spool, batch_tokens=512, seed=3)

    for update in (0, 5, batches.updates_per_epoch):
        assert list(pairs_of(batches[update], spool)) == batches.pairs(update).tolist()
