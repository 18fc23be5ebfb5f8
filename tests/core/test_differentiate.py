"""Gradients of functions: three backends, one signature, nested and by tensors that come late."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.differentiate import as_leaf, differentiate
from tests.conftest import BACKEND


def listed(tensors: Any) -> list[Any]:
    return [None if t is None else np.array(ops.convert_to_numpy(t)).tolist() for t in tensors]


def test_value_aux_and_gradients() -> None:
    x, y = ops.convert_to_tensor([1.0, 2.0]), ops.convert_to_tensor(3.0)

    (value, aux), gradients = differentiate(lambda t: (ops.sum(t[0] ** 2) * t[1], t[0] + 1), [x, y])

    assert listed([value, aux]) == [15.0, [2.0, 3.0]]
    assert listed(gradients) == [[6.0, 12.0], 5.0]


def test_where_nothing_depends_on_a_tensor() -> None:
    _, gradients = differentiate(lambda t: (ops.sum(t[0]), None), [ops.ones(2), ops.ones(2)])

    assert listed(gradients)[1] == ([0.0, 0.0] if BACKEND == "jax" else None)


def test_a_gradient_inside_of_a_gradient() -> None:
    def norm_of_gradient(tensors: Any) -> Any:
        _, (gradient,) = differentiate(lambda t: (ops.sum(t[0] ** 3), None), tensors)
        return ops.sum(gradient**2), None  # (3x²)² = 9x⁴

    (value, _), (gradient,) = differentiate(norm_of_gradient, [ops.convert_to_tensor([2.0])])

    assert listed([value, gradient]) == [144.0, [288.0]]  # 36x³


def test_the_gradient_by_a_tensor_that_comes_late() -> None:
    table = ops.convert_to_tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def loss(tensors: Any) -> Any:
        rows = as_leaf(ops.take(table, ops.convert_to_tensor([2, 0]), axis=0))
        return ops.sum(rows * tensors[0]), rows

    (value, rows), (factor, by_rows) = differentiate(
        loss, [ops.convert_to_tensor(10.0)], leaves=True
    )

    assert listed([value, rows]) == [140.0, [[5.0, 6.0], [1.0, 2.0]]]
    assert listed([factor, by_rows]) == [14.0, [[10.0, 10.0], [10.0, 10.0]]]


def test_a_leaf_outside_or_inside_of_another_gradient_is_an_error() -> None:
    def inner(tensors: Any) -> Any:
        return ops.sum(as_leaf(tensors[0])), None

    def outer(tensors: Any) -> Any:
        return differentiate(inner, tensors)[0]

    with pytest.raises(RuntimeError, match="asked for inside of another gradient"):
        as_leaf(ops.ones(1))
    with pytest.raises(RuntimeError, match="need a dense gradient for this embedding"):
        differentiate(outer, [ops.ones(1)], leaves=True)


def test_an_error_in_the_function_leaves_nothing_behind() -> None:
    def fails(tensors: Any) -> Any:
        raise KeyError

    with pytest.raises(KeyError):
        differentiate(fails, [ops.ones(1)], leaves=True)
    with pytest.raises(RuntimeError):
        as_leaf(ops.ones(1))


@pytest.mark.skipif(BACKEND == "jax", reason="on JAX only values are differentiated by")
def test_a_variable_itself_is_handed_on() -> None:
    variable = keras.Variable([1.0, 2.0])

    _, (gradient,) = differentiate(lambda t: (ops.sum(variable * 3.0), None), [variable.value])

    assert listed([gradient]) == [[3.0, 3.0]]
