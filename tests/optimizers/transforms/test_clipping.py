"""Clipping: the equations in NumPy, optax, what stays as it is, what is refused."""

from typing import Any

import jax
import keras
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kooler.optimizers import transforms
from tests.conftest import BACKEND
from tests.optimizers.conformance import array, fresh_variables, gradients

(STREAM,) = gradients(steps=1)
VARIABLES = [keras.Variable(0.1 * v, name=f"kernel{i}") for i, v in enumerate(STREAM)]


def applied(transform: Any, stream: Any = None, variables: Any = None) -> list[np.ndarray]:
    """What a transform makes of the gradients."""
    tensors = [ops.convert_to_tensor(g) for g in (STREAM if stream is None else stream)]
    own = VARIABLES if variables is None else variables
    if BACKEND == "jax":  # as in a step: one compilation, not one for each operation
        return [array(g) for g in jax.jit(lambda gradients: transform(gradients, own))(tensors)]
    return [array(g) for g in transform(tensors, own)]


def scaled(gradient: np.ndarray, norm: Any, limit: Any) -> np.ndarray:
    return gradient * limit / np.maximum(norm, limit)


def by_units(gradient: np.ndarray, weights: np.ndarray) -> np.ndarray:
    axes = tuple(range(gradient.ndim - 1)) if gradient.ndim > 1 else None
    norms = [np.sqrt(np.sum(x * x, axes, keepdims=True)) for x in (weights, gradient)]
    return scaled(gradient, norms[1], 0.5 * np.maximum(norms[0], 1e-3))


ORACLES = {
    "clip_by_value": (
        transforms.clip_by_value(0.3),
        lambda gs, ws: [np.clip(g, -0.3, 0.3) for g in gs],
    ),
    "clip_by_norm": (
        transforms.clip_by_norm(0.7),
        lambda gs, ws: [scaled(g, np.linalg.norm(g), 0.7) for g in gs],
    ),
    "clip_by_l1_norm": (
        transforms.clip_by_l1_norm(2.0),
        lambda gs, ws: [scaled(g, np.abs(g).sum(), 2.0) for g in gs],
    ),
    "clip_by_global_norm": (
        transforms.clip_by_global_norm(3.0),
        lambda gs, ws: [scaled(g, np.sqrt(sum((h * h).sum() for h in gs)), 3.0) for g in gs],
    ),
    "adaptive_clip": (
        transforms.adaptive_clip(0.5),
        lambda gs, ws: [by_units(g, w) for g, w in zip(gs, ws, strict=True)],
    ),
}


@pytest.mark.parametrize("name", ORACLES)
def test_the_equation(name: str) -> None:
    transform, oracle = ORACLES[name]
    exact = [g.astype("float64") for g in STREAM]

    expected = oracle(exact, [array(v).astype("float64") for v in VARIABLES])

    for ours, wanted in zip(applied(transform), expected, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=2e-6, atol=1e-7)
        assert ours.dtype == "float32"


OPTAX = {
    "clip_by_value": (transforms.clip_by_value(0.3), optax.clip(0.3)),
    "clip_by_global_norm": (transforms.clip_by_global_norm(3.0), optax.clip_by_global_norm(3.0)),
    "adaptive_clip": (transforms.adaptive_clip(0.5), optax.adaptive_grad_clip(0.5)),
}


@pytest.mark.parametrize("name", OPTAX)
def test_optax_agrees(name: str) -> None:
    ours, theirs = OPTAX[name]
    weights = [array(v) for v in VARIABLES]

    expected, _ = jax.jit(theirs.update)(STREAM, theirs.init(weights), weights)

    for a, b in zip(applied(ours), expected, strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-5, atol=1e-7)


def test_a_case_for_the_head() -> None:
    three, four = [np.array([x], "float32") for x in (3, 4)]
    variables = [keras.Variable([1.0]), keras.Variable([1.0])]

    together = applied(transforms.clip_by_global_norm(1.0), [three, four], variables)
    alone = applied(transforms.clip_by_norm(1.0), [three, four], variables)

    np.testing.assert_allclose(np.ravel(together), [0.6, 0.8], rtol=1e-6)
    assert [g.tolist() for g in alone] == [[1.0], [1.0]]


@pytest.mark.parametrize("name", ORACLES)
def test_below_the_limit_nothing_changes_bit_for_bit(name: str) -> None:
    small = [1e-5 * g for g in STREAM]

    for ours, given_one in zip(applied(ORACLES[name][0], small), small, strict=True):
        np.testing.assert_array_equal(ours, given_one)


@settings(max_examples=5)
@given(limit=st.floats(0.01, 100.0), size=st.floats(1e-3, 1e3))
def test_the_norm_is_never_above_the_limit(limit: float, size: float) -> None:
    clipped = applied(transforms.clip_by_global_norm(limit), [size * g for g in STREAM])

    assert np.sqrt(sum(np.sum(np.square(g)) for g in clipped)) <= limit * (1 + 1e-5)


@pytest.mark.parametrize("name", ORACLES)
def test_none_passes_through(name: str) -> None:
    vector = ops.convert_to_tensor(STREAM[1])

    first, second, third = ORACLES[name][0]([None, vector, None], VARIABLES[:3])

    assert first is None
    assert third is None
    np.testing.assert_array_equal(
        array(second), array(ORACLES[name][0]([vector], [VARIABLES[1]])[0])
    )
    assert ORACLES[name][0]([None], [VARIABLES[0]]) == [None]


def test_norms_of_half_precision_do_not_overflow() -> None:
    gradient = np.full((2, 2), 300.0, "float16")  # 300² is beyond float16

    (clipped,) = applied(
        transforms.clip_by_norm(6.0), [gradient], [keras.Variable(np.ones((2, 2)))]
    )

    assert clipped.dtype == "float16"
    np.testing.assert_allclose(clipped, 3.0, rtol=1e-3)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("wrong", [0, -1.0, "1", None, True, float("inf"), float("nan")], ids=str)
def test_the_limit_must_be_a_number_above_zero(name: str, wrong: Any) -> None:
    argument = next(iter(ORACLES[name][0].arguments))

    with pytest.raises(ValueError, match=f"`{argument}` must be a number above 0, received"):
        getattr(transforms, name)(wrong)


def test_it_needs_no_variable_that_knows_its_name() -> None:
    assert len(applied(transforms.adaptive_clip(), STREAM, fresh_variables())) == 4
