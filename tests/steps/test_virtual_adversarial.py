"""Virtual adversarial training against its equations."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.steps import VirtualAdversarial
from kooler.steps.virtual_adversarial import binary, categorical
from tests.steps.small import (
    IDS,
    LABELS,
    Weights,
    check_same,
    check_step,
    model,
    numeric_gradient,
    on_table,
    outputs,
    plus,
    weights_of,
)

XI, EPSILON = 2.0, 0.5


def probability(weights: Weights) -> np.ndarray:
    return 1 / (1 + np.exp(-outputs(weights)))


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


def crossentropy(weights: Weights, counted: Any = slice(None)) -> float:
    p = probability(weights)
    losses = -(LABELS * np.log(p) + (1 - LABELS) * np.log(1 - p))
    return float(np.mean(losses[counted]))


def perturbation(weights: Weights, iterations: int) -> np.ndarray:
    noise = keras.random.normal((5, 2), seed=keras.random.SeedGenerator(1704))
    direction = np.array(ops.convert_to_numpy(noise), "float64")
    p = probability(weights)
    for _ in range(iterations):
        away = on_table(XI * direction / np.linalg.norm(direction), weights)
        at = plus(weights, away)
        direction = numeric_gradient(lambda w: divergence(p, probability(w)), at)[0]
    return EPSILON * direction / np.linalg.norm(direction)


def expected(weights: Weights, iterations: int = 1, counted: Any = slice(None)) -> Weights:
    distance = on_table(perturbation(weights, iterations), weights)
    p = probability(weights)

    def whole(at: Weights) -> float:
        return crossentropy(at, counted) + divergence(p, probability(plus(at, distance)))

    return numeric_gradient(whole, weights)


def classifier(loss: Any = "binary_crossentropy", activation: Any = "sigmoid") -> keras.Model:
    return model(loss=loss, activation=activation)


@pytest.mark.parametrize("iterations", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_it_descends_the_loss_and_the_divergence(iterations: int) -> None:
    technique = VirtualAdversarial("words", EPSILON, xi=XI, iterations=iterations)

    check_step(technique.inject(classifier()), lambda w: expected(w, iterations), LABELS)


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True])
def test_logits_are_distributions_too(scaled: bool) -> None:
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.5)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 2.0**8)
    net = VirtualAdversarial("words", EPSILON, xi=XI).inject(model(optimizer, loss))

    check_step(net, expected, LABELS)


def test_unlabelled_examples_count_for_the_divergence_only() -> None:
    loss = keras.losses.BinaryCrossentropy(reduction="mean_with_sample_weight")
    net = VirtualAdversarial("words", EPSILON, xi=XI).inject(classifier(loss))
    labelled = np.arange(12) < 4
    before = weights_of(net)
    net.train_on_batch(IDS, np.where(labelled[:, None], LABELS, 0.0), labelled.astype("float32"))

    after = plus(before, expected(before, counted=slice(0, 4)), -0.5)
    for ours, theirs in zip(weights_of(net), after, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.slow
def test_each_batch_draws_other_noise_and_each_run_the_same() -> None:
    nets = [VirtualAdversarial("words").inject(classifier()) for _ in range(2)]
    for net in nets:
        net.optimizer.learning_rate = 0.0
        first, second = (net.train_on_batch(IDS, LABELS)[0] for _ in range(2))
        assert first != second
    check_same(*(net.variables for net in nets))


def test_divergences_by_hand() -> None:
    """Half and half against a quarter: ½ log 2 + ½ log ⅔."""
    by_hand = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    p, q = ops.convert_to_tensor([[0.5, 0.5]]), ops.convert_to_tensor([[0.25, 0.75]])
    yes = [x[:, :1] for x in (p, q)]
    logits = [ops.log(x / (1 - x)) for x in yes]

    for found in (
        categorical(p, q, from_logits=False),
        categorical(ops.log(p), ops.log(q), from_logits=True),
        binary(*yes, from_logits=False),
        binary(*logits, from_logits=True),
    ):
        assert float(found[0]) == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.slow
def test_padding_counts_neither_for_the_loss_nor_for_the_divergence() -> None:
    """A tagger with a mask: the same words with more padding give the same step."""

    def trained(padding: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(2)
        net = keras.Sequential(
            [
                keras.layers.Embedding(6, 2, mask_zero=True, name="words"),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )
        net.compile(keras.optimizers.SGD(0.5), loss="sparse_categorical_crossentropy")
        ids = np.pad(IDS[:4] + 1, ((0, 0), (0, padding)))
        net.build(ids.shape)
        VirtualAdversarial("words").inject(net).train_on_batch(ids, ids % 3)
        return net.get_weights()

    for ours, theirs in zip(trained(0), trained(2), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_regression_has_no_distributions() -> None:
    with pytest.raises(ValueError, match="the loss 'mse' does not say that the outputs are any"):
        VirtualAdversarial("words").inject(model())


def test_a_model_without_a_loss_has_none_either() -> None:
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    net.compile("sgd")
    with pytest.raises(ValueError, match=r"this model is compiled without one. Compile one cross"):
        VirtualAdversarial("kernel").inject(net)
