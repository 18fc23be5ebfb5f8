"""Each parametrization against its equation: weight, inverse, and what it promises in training."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.layers import (
    LowRank,
    Orthogonal,
    Positive,
    Scale,
    SpectralNorm,
    Symmetric,
    UnitNorm,
    WeightNorm,
    reparametrize,
)
from kooler.layers.parametrization import Parametrization

RANDOM = np.random.default_rng(1)
W = RANDOM.normal(size=(6, 4)).astype("float32") * 2
X = RANDOM.normal(size=(16, 6)).astype("float32")
Y = RANDOM.normal(size=(16, 4)).astype("float32")


def array(tensor: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def there_and_back(parametrization: Parametrization, weight: np.ndarray) -> np.ndarray:
    originals = parametrization.right_inverse(ops.convert_to_tensor(weight))
    originals = originals if isinstance(originals, tuple) else (originals,)
    state = parametrization.initial_state(ops.convert_to_tensor(weight))
    return array(parametrization.forward(*originals, **state))


def sigma(weight: np.ndarray) -> float:
    return float(np.linalg.svd(weight, compute_uv=False)[0])


def dense_model(parametrization: Parametrization, weight: np.ndarray = W) -> tuple[Any, Any]:
    dense = layers.Dense(weight.shape[1], use_bias=False)
    model = keras.Sequential([keras.Input((weight.shape[0],)), dense])
    dense.kernel.assign(weight)
    reparametrize(model, dense.kernel, parametrization)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model, dense


def train(model: Any, epochs: int = 1, batch_size: int = 16) -> None:
    model.fit(X, Y, epochs=epochs, batch_size=batch_size, shuffle=False, verbose=0)


# Spectral norm.


def test_keras_defect_the_kernel_to_predict_with_has_spectral_norm_one() -> None:
    """Keras's own layer predicts on JAX with σ = 13 here, elsewhere with σ ≠ 1."""
    model, dense = dense_model(SpectralNorm(), 3 * W)
    train(model, epochs=4)
    kernel = array(dense.kernel)

    assert sigma(kernel) == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(model.predict(X, verbose=0), X @ kernel, atol=1e-5)


def test_keras_defect_a_step_is_the_step_of_the_normalised_weight() -> None:
    model, dense = dense_model(SpectralNorm())
    train(model)

    w, x, y = (one.astype("float64") for one in (W, X, Y))
    left, values, right = np.linalg.svd(w, full_matrices=False)
    by_w = 2 * x.T @ (x @ w / values[0] - y) / Y.size
    change = by_w - (by_w * w).sum() / values[0] * np.outer(left[:, 0], right[0])
    original = dense.kernel_parametrization.weight.sources()["original_0"]
    np.testing.assert_allclose(array(original), w - 0.1 * change / values[0], atol=2e-6)


@pytest.mark.slow
def test_power_iteration_follows_the_weight_and_exact_needs_no_memory() -> None:
    (model, dense), (exact, exact_dense) = (
        dense_model(SpectralNorm(iterations=3)),
        dense_model(SpectralNorm(exact=True)),
    )
    train(model, epochs=3)
    train(exact, epochs=3)

    np.testing.assert_allclose(array(dense.kernel), array(exact_dense.kernel), atol=1e-4)
    assert len(exact_dense.variables) == 1
    assert sigma(array(exact_dense.kernel)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.compiles
def test_the_matrix_of_a_kernel_goes_from_its_inputs_to_its_outputs() -> None:
    transposed = layers.Conv2DTranspose(2, 3)
    transposed.build((None, 5, 5, 3))  # kernel [3, 3, 2 out, 3 in]
    heads = layers.EinsumDense("abc,cde->abde", (None, 2, 3), name="heads")
    heads.build((None, 5, 4))  # kernel [4 in, 2 out, 3 out]
    for layer in (transposed, heads):
        reparametrize(layer, "kernel", SpectralNorm())

    swapped = np.moveaxis(array(transposed.kernel), 2, -1).reshape(-1, 2)
    assert sigma(swapped) == pytest.approx(1.0, abs=1e-5)
    assert sigma(array(heads.kernel).reshape(4, 6)) == pytest.approx(1.0, abs=1e-5)


def test_a_weight_of_zeros_stays_one() -> None:
    np.testing.assert_array_equal(there_and_back(SpectralNorm(), 0 * W), 0 * W)


# Orthogonal.


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (2, 3, 4)])
def test_it_begins_at_an_orthogonal_weight_or_at_the_nearest_factor(shape: Any) -> None:
    weight = RANDOM.normal(size=shape).astype("float32")
    made = there_and_back(Orthogonal(), weight)
    matrix = made.reshape(-1, shape[-1])
    short = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T

    np.testing.assert_allclose(short.T @ short, np.eye(short.shape[1]), atol=1e-6)
    np.testing.assert_allclose(there_and_back(Orthogonal(), made), made, atol=1e-6)


def test_it_stays_orthogonal_and_descends_along_the_manifold() -> None:
    model, dense = dense_model(Orthogonal())
    before, loss = array(dense.kernel), model.evaluate(X, Y, verbose=0)
    train(model, epochs=5)
    after = array(dense.kernel)

    np.testing.assert_allclose(after.T @ after, np.eye(4), atol=1e-6)
    assert model.evaluate(X, Y, verbose=0) < loss
    assert np.abs(after - before).max() > 0.01


def test_the_first_step_is_along_the_gradient_projected_on_skew_matrices() -> None:
    model, dense = dense_model(Orthogonal(), np.linalg.qr(W)[0])
    q = array(dense.kernel).astype("float64")
    base = array(dense.kernel_parametrization.weight.sources()["base"]).astype("float64")
    train(model)
    gradient = 2 * X.T @ (X @ q - Y) / Y.size
    by_turn = base.T @ np.pad(gradient, ((0, 0), (0, 2)))
    expected = np.tril(by_turn - by_turn.T, -1)[:, :4]  # ∂/∂x of the Cayley transform at 0

    original = dense.kernel_parametrization.weight.sources()["original_0"]
    np.testing.assert_allclose(array(original), -0.1 * expected, atol=1e-6)


# The others.


@pytest.mark.parametrize(
    "parametrization",
    [WeightNorm(), WeightNorm(axis=0), WeightNorm(axis=None), Scale(-0.3), LowRank(4)],
    ids=lambda one: type(one).__name__,
)
def test_these_begin_at_the_present_weight(parametrization: Parametrization) -> None:
    np.testing.assert_allclose(there_and_back(parametrization, W), W, atol=2e-6)


def test_weight_norm_of_kernels_with_more_axes_and_of_zeros() -> None:
    weight = RANDOM.normal(size=(2, 3, 4)).astype("float32")
    weight[..., 1] = 0.0
    g, v = WeightNorm().right_inverse(ops.convert_to_tensor(weight))

    assert tuple(g.shape) == (1, 1, 4)
    np.testing.assert_allclose(
        array(g)[0, 0], np.linalg.norm(weight.reshape(6, 4), axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(array(v)[..., 1]), 1.0, rtol=1e-6)  # it can grow
    np.testing.assert_allclose(there_and_back(WeightNorm(), weight), weight, atol=1e-6)


def test_unit_norm_has_length_one_along_its_axis() -> None:
    made = there_and_back(UnitNorm(), W)

    np.testing.assert_allclose(made, W / np.linalg.norm(W, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        np.linalg.norm(there_and_back(UnitNorm(axis=1), W), axis=1), 1.0, rtol=1e-6
    )
    np.testing.assert_array_equal(there_and_back(UnitNorm(), 0 * W), 0 * W)


def test_low_rank_is_the_best_approximation() -> None:
    left, values, right = np.linalg.svd(W)
    expected = (left[:, :2] * values[:2]) @ right[:2]

    np.testing.assert_allclose(there_and_back(LowRank(2), W), expected, atol=2e-6)
    cube = RANDOM.normal(size=(2, 3, 4)).astype("float32")
    assert there_and_back(LowRank(1), cube).shape == (2, 3, 4)


def test_positive_begins_at_the_absolute_values_and_stays_positive() -> None:
    values = np.array([[-3.0, 1e-3], [50.0, 0.0]], "float32")
    made = there_and_back(Positive(), values)

    np.testing.assert_allclose(made, [[3.0, 1e-3], [50.0, 1e-7]], rtol=1e-3)
    model, dense = dense_model(Positive())
    train(model, epochs=5)
    assert (array(dense.kernel) > 0).all()


def test_symmetric_stays_symmetric() -> None:
    square = RANDOM.normal(size=(4, 4)).astype("float32")
    made = there_and_back(Symmetric(), square)

    np.testing.assert_allclose(made, (square + square.T) / 2, atol=1e-6)
    np.testing.assert_array_equal(there_and_back(Symmetric(), made), made)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralNorm(0), "`iterations` must be an integer ≥ 1, received 0"),
        (lambda: Scale(0.0), "`factor` must be a number other than 0, received 0.0"),
        (lambda: Scale(float("nan")), "`factor` must be a number other than 0, received nan"),
        (lambda: LowRank(0), "`rank` must be an integer ≥ 1, received 0"),
        (lambda: there_and_back(LowRank(5), W), r"shape \(6, 4\) has no rank 5: .* at most 4"),
        (lambda: there_and_back(Symmetric(), W), r"needs a square matrix, received .* \(6, 4\)"),
    ],
)
def test_wrong_settings(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
