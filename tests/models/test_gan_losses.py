"""The losses of the players, against NumPy."""

import numpy as np
import pytest
from keras import ops

from kooler.models.gan_losses import player_losses
from tests.models.players import ORACLES

RANDOM = np.random.default_rng(3)
SCORES = RANDOM.normal(size=(2, 5, 1)).astype("float32")
EXAMPLES = RANDOM.normal(size=(2, 5, 3)).astype("float32")


@pytest.mark.parametrize("name", ORACLES)
def test_they_are_what_the_table_says(name: str) -> None:
    distance = np.abs(EXAMPLES[0] - EXAMPLES[1]).mean(axis=1, keepdims=True)
    losses = player_losses(name)

    found = losses.of_discriminator(SCORES, *EXAMPLES), losses.of_generator(SCORES, *EXAMPLES)

    for one, oracle in zip(found, ORACLES[name], strict=True):
        wanted = oracle(*SCORES.astype("float64"), distance)[:, 0]
        np.testing.assert_allclose(ops.convert_to_numpy(one), wanted, rtol=1e-5, atol=1e-6)


def test_the_scores_of_patches_are_averaged_by_example() -> None:
    scores = np.arange(12, dtype="float32").reshape(2, 3, 2, 1)

    found = player_losses("wgan").of_generator((scores, scores), EXAMPLES[0, :2], EXAMPLES[1, :2])

    assert ops.convert_to_numpy(found).tolist() == [-2.5, -8.5]


def test_names_may_be_written_as_in_the_papers() -> None:
    assert [player_losses(name).name for name in ("WGAN", "GAN-QP")] == ["wgan", "gan_qp"]


def test_zero_sum_is_found_out_by_trying() -> None:
    zero_sum = [name for name in ORACLES if player_losses(name).is_zero_sum()]
    own = player_losses((lambda r, f: f**3 - r, lambda r, f: -(f**3)))

    assert zero_sum == ["minimax", "wgan"]
    assert own.is_zero_sum()


def test_what_is_no_loss_is_refused() -> None:
    with pytest.raises(TypeError, match=r"or a pair of functions .* received loss=3"):
        player_losses(3)
