"""A step of a GAN is a step of each player, whatever the loss; and settings do what they say."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.callbacks import averaged_weights
from kooler.models import GAN, R1Penalty
from kooler.optimizers import EMA, Group, ParamGroups, WeightAverage
from kooler.steps import Microbatch
from tests.models.players import (
    LATENT,
    ORACLES,
    REAL,
    Keeper,
    arrays,
    by_differences,
    gradients_of_step,
    players,
    relative,
    separate_gradients,
)


def keeping(gan: GAN, *, eagerly: bool = False) -> GAN:
    gan.compile(Keeper(keras.optimizers.SGD(0.1)), run_eagerly=eagerly)
    return gan


@pytest.mark.parametrize("loss", ORACLES)
def test_each_player_gets_the_gradient_of_its_own_loss(loss: str) -> None:
    generator, discriminator = players()
    weights = [
        w.astype("float64") for w in [*discriminator.get_weights(), *generator.get_weights()]
    ]
    wanted = [
        *by_differences(lambda w: numpy_loss(ORACLES[loss][0], w), weights)[:4],
        *by_differences(lambda w: numpy_loss(ORACLES[loss][1], w), weights)[4:],
    ]

    of_discriminator, of_generator = gradients_of_step(
        keeping(GAN(generator, discriminator, loss), eagerly=True)
    )

    assert relative(of_discriminator, wanted[:4]) < 2e-6
    assert relative(of_generator, wanted[4:]) < 2e-6


@pytest.mark.parametrize("loss", ["rsgan"])
def test_so_it_does_with_batch_statistics_and_dropout(loss: str) -> None:
    check_exact(loss, norm=True, dropout=0.5, trick="frozen")


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("loss", ORACLES)
def test_so_it_does_in_every_combination(loss: str, norm: bool, dropout: float) -> None:
    check_exact(loss, norm=norm, dropout=dropout, trick="frozen")


@pytest.mark.slow
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("loss", ORACLES)
def test_subtracting_is_exact_without_random_numbers(loss: str, norm: bool) -> None:
    check_exact(loss, norm=norm, dropout=0.0, trick="subtract", tolerance=3e-6)


@pytest.mark.parametrize("loss", ["minimax", "wgan"])
def test_reversing_is_exact_for_zero_sum_losses(loss: str) -> None:
    check_exact(loss, norm=True, dropout=0.5, trick="reverse", eagerly=True)


def test_subtracting_is_wrong_with_dropout_and_says_so() -> None:
    generator, discriminator = players(dropout=0.5)
    wanted, _ = separate_gradients(generator, discriminator, ORACLES["hinge"])

    with pytest.warns(UserWarning, match="draws random numbers.*Use trick='frozen'"):
        gan = keeping(GAN(generator, discriminator, trick="subtract"), eagerly=True)
    found, _ = gradients_of_step(gan)

    assert relative(found, wanted) > 0.01


@pytest.mark.parametrize(("trick", "passes"), [("frozen", "rf"), ("subtract", "rff")])
def test_statistics_see_the_real_and_then_the_generated_examples(trick: str, passes: str) -> None:
    generator, discriminator = players(norm=True)
    kernel = discriminator.get_layer("d_in").get_weights()[0]
    batches = {"r": REAL @ kernel, "f": generator.predict(LATENT, verbose=0) @ kernel}
    wanted = np.zeros(5)
    for name in passes:
        wanted = 0.99 * wanted + 0.01 * batches[name].mean(0)

    gan = GAN(generator, discriminator, trick=trick)
    gan.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    gan.train_on_batch((REAL, LATENT))

    moving_mean = discriminator.layers[1].moving_mean
    np.testing.assert_allclose(ops.convert_to_numpy(moving_mean), wanted, rtol=1e-5, atol=1e-7)


def test_a_pair_of_functions_is_a_loss() -> None:
    generator, discriminator = players()
    wanted = separate_gradients(
        generator, discriminator, (lambda r, f, d: f - 2 * r, lambda r, f, d: -f * f)
    )

    loss = (lambda real, fake: fake - 2 * real, lambda real, fake: -fake * fake)
    found = gradients_of_step(keeping(GAN(generator, discriminator, loss), eagerly=True))

    assert relative(found[0], wanted[0]) < 1e-6
    assert relative(found[1], wanted[1]) < 1e-6


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "adamw"])
def test_one_optimizer_is_two_bit_for_bit(optimizer: str) -> None:
    gan = GAN(*players(), "non_saturating")
    gan.compile(Keeper(optimizer), run_eagerly=True)
    others = players()
    own = [keras.optimizers.get(optimizer) for _ in others]

    for _ in range(3):
        of_discriminator, of_generator = gradients_of_step(gan)
        for player, one, gradients in zip(
            others, own, (of_generator, of_discriminator), strict=True
        ):
            one.apply([ops.convert_to_tensor(g) for g in gradients], player.trainable_variables)

    for player, other in zip((gan.generator, gan.discriminator), others, strict=True):
        for found, wanted in zip(player.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_an_idle_generator_keeps_its_weights_and_moments() -> None:
    gan = GAN(*players(), n_critic=2)
    gan.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1))
    (copy,) = gan.optimizer.group_optimizers
    states = []

    for _ in range(4):
        gan.train_on_batch(REAL)
        states.append(arrays([*gan.generator.variables, *copy.variables]))

    assert int(ops.convert_to_numpy(copy.iterations)) == 2
    assert int(ops.convert_to_numpy(gan.optimizer.inner_optimizer.iterations)) == 4
    for before, after in zip(states[1], states[2], strict=True):
        np.testing.assert_array_equal(before, after)
    assert any((a != b).any() for a, b in zip(states[2], states[3], strict=True))


def test_the_first_turn_of_a_generator_is_a_first_step_of_its_optimizer() -> None:
    gan = GAN(*players(), n_critic=3)
    gan.compile(keras.optimizers.Adam(0.1), run_eagerly=True)
    start = arrays(gan.generator.trainable_variables)

    for _ in range(3):
        gan.train_on_batch((REAL, LATENT))

    for before, now in zip(start, arrays(gan.generator.trainable_variables), strict=True):
        np.testing.assert_allclose(np.abs(now - before), 0.1, rtol=1e-2)  # not 0.064


@pytest.mark.parametrize("rates", [(0.1, 1.0), {"generator": 0.1}])
def test_learning_rates_of_their_own_count_under_adam(rates: Any) -> None:
    gan = GAN(*players(), learning_rates=rates)
    gan.compile(keras.optimizers.Adam(0.1, epsilon=1e-12), run_eagerly=True)
    moved = []

    for player in (gan.generator, gan.discriminator):
        moved.append(player.trainable_variables[0])
    start = arrays(moved)
    gan.train_on_batch((REAL, LATENT))

    steps = [np.abs(now - before) for now, before in zip(arrays(moved), start, strict=True)]
    np.testing.assert_allclose(steps[0], 0.01, rtol=1e-3)
    np.testing.assert_allclose(steps[1], 0.1, rtol=1e-3)


def test_settings_of_the_players_lie_inside_of_wrappers() -> None:
    gan = GAN(*players(), n_critic=2, learning_rates=(0.5, 1.0))
    gan.compile(Keeper("adam"))

    kinds = []
    optimizer = gan.optimizer
    while hasattr(optimizer, "inner_optimizer"):
        kinds.append(type(optimizer).__name__)
        optimizer = optimizer.inner_optimizer

    assert kinds == ["Keeper", "LearningRateMultiplier", "Turns"]


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.Adam(global_clipnorm=1.0),
        lambda: Keeper(keras.optimizers.Adam(global_clipnorm=1.0)),
        lambda: ParamGroups(
            [Group("g_out", lr_multiplier=0.5)], keras.optimizers.Adam(global_clipnorm=1.0)
        ),
    ],
)
def test_one_norm_over_both_players_is_refused(optimizer: Any) -> None:
    with pytest.raises(ValueError, match=r"global_clipnorm=1.0, one norm over generator and"):
        GAN(*players()).compile(optimizer())


def test_the_history_has_the_losses_of_both_players() -> None:
    gan = GAN(*players(), "lsgan", penalty="r1")
    gan.compile("adam")

    history = gan.fit(REAL, batch_size=4, epochs=2, verbose=0, validation_data=(REAL,)).history

    names = ("discriminator_loss", "generator_loss", "penalty")
    assert set(history) == {f"{on}{name}" for on in ("", "val_") for name in (*names, "loss")}
    np.testing.assert_allclose(history["loss"], sum(np.array(history[n]) for n in names), rtol=1e-5)


def test_generated_examples_are_the_same_for_a_seed() -> None:
    gan = GAN(*players())

    assert gan.generate(5).shape == (5, 4)
    np.testing.assert_array_equal(gan.generate(3, seed=4), gan.generate(3, seed=4))


def test_a_lazy_penalty_comes_every_so_often_and_as_many_times_as_strong() -> None:
    values = []
    for every in (1, 2):
        gan = GAN(*players(), penalty=R1Penalty(10.0, every=every))
        gan.compile(keras.optimizers.SGD(0.0))
        for _ in range(2):
            logs = gan.train_on_batch((REAL, LATENT), return_dict=True)
            values.append(float(logs["penalty"]))
            gan.reset_metrics()

    always, _, due, waiting = values
    assert always > 0
    np.testing.assert_allclose([due, waiting], [2 * always, 0.0], rtol=1e-6)


def test_a_run_goes_on_where_it_was_saved(tmp_path: Path) -> None:
    def made() -> GAN:
        gan = GAN(*players(), n_critic=2, penalty=R1Penalty(every=3), learning_rates=(0.5, 2.0))
        gan.compile(keras.optimizers.Adam(0.1), run_eagerly=True)
        return gan

    whole = made()
    for step in range(5):
        if step == 3:
            whole.save(tmp_path / "gan.keras")
        whole.train_on_batch(REAL)
    resumed = keras.saving.load_model(tmp_path / "gan.keras")
    resumed.run_eagerly = True
    for _ in range(2):
        resumed.train_on_batch(REAL)

    for found, wanted in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_an_averaged_generator_generates() -> None:
    gan = GAN(*players())
    gan.compile(WeightAverage(keras.optimizers.Adam(0.1), EMA(0.9)))
    gan.fit(REAL, batch_size=4, verbose=0)
    now = gan.generate(3, seed=1)

    with averaged_weights(gan):
        averaged = gan.generate(3, seed=1)

    assert np.abs(averaged - now).max() > 1e-3
    np.testing.assert_array_equal(gan.generate(3, seed=1), now)


def test_a_gan_is_trained_in_micro_batches() -> None:
    whole, parts = (keeping(GAN(*players(), "hinge")) for _ in range(2))
    Microbatch(4).inject(parts)

    wanted, found = gradients_of_step(whole), gradients_of_step(parts)

    assert relative(found[0], wanted[0]) < 1e-6
    assert relative(found[1], wanted[1]) < 1e-6


def test_a_penalty_of_some_steps_cannot_be_counted_in_parts_of_a_batch() -> None:
    gan = keeping(GAN(*players(), penalty=R1Penalty(every=4)))

    with pytest.raises(ValueError, match=r"Microbatch cannot be combined with .*, a GAN: its pena"):
        Microbatch(4).inject(gan)


def test_examples_in_a_dictionary_are_refused() -> None:
    gan = GAN(*players())
    gan.compile("adam", run_eagerly=True)

    with pytest.raises(ValueError, match=r"one tensor, or the pair .* received a dict of 1. Pass"):
        gan.train_on_batch({"images": REAL})


def test_targets_are_refused() -> None:
    gan = GAN(*players())
    gan.compile("adam", run_eagerly=True)

    with pytest.raises(ValueError, match="without targets or sample weights"):
        gan.train_on_batch(REAL, LATENT)


def test_weights_of_examples_are_refused() -> None:
    gan = GAN(*players())
    gan.compile("adam")

    with pytest.raises(ValueError, match="A GAN has no targets, so Keras would drop `sample_w"):
        gan.fit(REAL, sample_weight=np.ones(len(REAL)))


def test_losses_and_metrics_of_compile_are_refused() -> None:
    with pytest.raises(ValueError, match="has its own losses and metrics, received loss='mse'"):
        GAN(*players()).compile("adam", loss="mse")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"loss": "gang"}, "`loss` must be one of hinge, non_saturating.*received loss='gang'"),
        ({"penalty": "r2"}, "`penalty` must be None, one of wgan_gp, r1.*received penalty='r2'"),
        ({"n_critic": 0}, "`n_critic` of GAN must be a whole number of at least 1.*n_critic=0"),
        ({"learning_rates": 0.1}, "must be a pair of numbers.*Received learning_rates=0.1"),
        ({"learning_rates": (1, -1)}, "a pair of numbers ≥ 0"),
        ({"trick": "freeze"}, "`trick` must be one of frozen, subtract, reverse.*'freeze'"),
        ({"loss": "hinge", "trick": "reverse"}, "zero-sum losses only .minimax, wgan.; hinge is"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        GAN(*players(), **arguments)


def test_players_that_do_not_fit_are_refused() -> None:
    generator, discriminator = players()
    wide = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    unbuilt = keras.Sequential([layers.Dense(4)], name="late")
    with pytest.raises(TypeError, match="`generator` must be a Keras model, received 3"):
        GAN(3, discriminator)
    with pytest.raises(ValueError, match=r"makes examples of shape \(4,\), but .* takes \(6,\)"):
        GAN(generator, wide)
    with pytest.raises(ValueError, match=r"'late' does not say its input_shape\. Begin it with"):
        GAN(unbuilt, discriminator)


def test_players_with_the_same_weights_are_refused() -> None:
    dense = layers.Dense(4)
    generator = keras.Sequential([keras.Input((4,)), dense])
    discriminator = keras.Sequential([keras.Input((4,)), dense, layers.Dense(1)])

    with pytest.raises(ValueError, match="share the weights"):
        GAN(generator, discriminator)


def check_exact(
    loss: str,
    *,
    norm: bool,
    dropout: float,
    trick: str,
    tolerance: float = 1e-6,
    eagerly: bool = False,
) -> None:
    generator, discriminator = players(norm=norm, dropout=dropout)
    wanted = separate_gradients(generator, discriminator, ORACLES[loss])

    gan = GAN(generator, discriminator, loss, trick=trick)
    found = gradients_of_step(keeping(gan, eagerly=eagerly))

    assert relative(found[0], wanted[0]) < tolerance
    assert relative(found[1], wanted[1]) < tolerance


def numpy_loss(function: Any, weights: list[np.ndarray]) -> float:
    d_kernel, d_bias, d_out, d_out_bias, g_kernel, g_bias = weights
    real, fake = REAL.astype("float64"), LATENT.astype("float64") @ g_kernel + g_bias

    def score(examples: np.ndarray) -> np.ndarray:
        return np.tanh(examples @ d_kernel + d_bias) @ d_out + d_out_bias

    distance = np.abs(real - fake).mean(axis=1, keepdims=True)
    return float(function(score(real), score(fake), distance).mean())
