"""Caches that stay are read as caches that move: the specification is a list that is copied."""

import numpy as np
import pytest
from keras import ops

from kooler.seq2seq.ancestry import NOBODY, Ancestry, nobody_yet
from kooler.seq2seq.transformer import Cache

BATCH, PLACES, STEPS = 2, 3, 4


def histories(parents):
    """For each step, sentence and place: at which place its hypothesis stood in each step."""
    paths = [[[] for _ in range(PLACES)] for _ in range(BATCH)]
    for parent in parents:
        for row in range(BATCH):
            paths[row] = [paths[row][p] + [p] for p in parent[row]]
    return np.array(paths)


@pytest.mark.parametrize("per_step", [1, 2])
def test_a_place_reads_what_its_ancestors_wrote(per_step):
    parents = np.random.default_rng(per_step).integers(0, PLACES, (STEPS - 1, BATCH, PLACES))
    state = Ancestry([], nobody_yet(BATCH, PLACES, STEPS))
    for time, parent in enumerate(parents):
        state = state.written(time).followed(ops.convert_to_tensor(parent.astype("int32")))
    readable = ops.convert_to_numpy(state.written(STEPS - 1).readable(per_step))

    paths = histories(parents)
    expected = np.zeros((BATCH, PLACES, STEPS, PLACES), bool)
    for row, place in np.ndindex(BATCH, PLACES):
        path = [*paths[row, place], place]
        expected[row, place, np.arange(STEPS), path] = True
    expected = expected.repeat(per_step, axis=1).repeat(per_step, axis=3)
    np.testing.assert_array_equal(
        readable, expected.reshape(BATCH, 1, PLACES * per_step, STEPS * PLACES * per_step)
    )


def test_steps_that_are_not_written_are_read_by_nobody():
    state = Ancestry([], nobody_yet(1, 2, 3)).written(0)

    assert ops.convert_to_numpy(state.ancestors).tolist() == [
        [[0, NOBODY, NOBODY], [1, NOBODY, NOBODY]]
    ]
    assert ops.convert_to_numpy(state.readable(1)).astype(int).tolist() == [
        [[[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]]
    ]


def test_room_for_more_steps_changes_nothing_that_is_there():
    kept = np.random.default_rng(0).standard_normal((BATCH, 1, 2 * PLACES, 5)).astype("float32")
    turned = -kept.swapaxes(-1, -2)
    cache = Cache(*map(ops.convert_to_tensor, (turned, kept)))
    state = Ancestry([cache], nobody_yet(BATCH, PLACES, 2)).written(1)
    grown = state.grown(STEPS)
    keys, values = map(ops.convert_to_numpy, grown.caches[0])

    np.testing.assert_array_equal(values[:, :, : 2 * PLACES], kept)
    np.testing.assert_array_equal(keys, -values.swapaxes(-1, -2))
    assert values.shape == (BATCH, 1, STEPS * PLACES, 5)
    assert not values[:, :, 2 * PLACES :].any()
    ancestors = ops.convert_to_numpy(grown.ancestors)
    np.testing.assert_array_equal(ancestors[..., :2], ops.convert_to_numpy(state.ancestors))
    assert (ancestors[..., 2:] == NOBODY).all()
