"""Assignments under a condition, eager and compiled."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.conditional import assign, replica_count, run_if, sum_over_replicas
from tests.conftest import BACKEND


def numbers(*variables: Any) -> list[float]:
    return [float(ops.convert_to_numpy(variable)) for variable in variables]


@pytest.mark.parametrize("holds", [True, False])
def test_assigns_only_where_the_condition_holds(holds: bool) -> None:
    a, b = keras.Variable(1.0), keras.Variable(10.0)

    def update() -> None:
        a.assign(a + 1.0)
        b.assign(b + a)  # sees the new value

    run_if(ops.equal(1, 1 if holds else 2), update, [a, b])

    assert numbers(a, b) == ([2.0, 12.0] if holds else [1.0, 10.0])


@pytest.mark.parametrize("holds", [True, False])
def test_inside_of_a_condition_and_of_a_scope(holds: bool) -> None:
    a, b = keras.Variable(1.0), keras.Variable(10.0)

    def inner() -> None:
        a.assign(a + b)

    with keras.StatelessScope([(a, ops.ones(()) * 3.0), (b, ops.ones(()) * 30.0)]) as scope:
        run_if(
            ops.convert_to_tensor(True),
            lambda: run_if(ops.equal(1, 1 if holds else 2), inner, [a]),
            [a],
        )

    assert numbers(scope.get_current_value(a)) == [33.0 if holds else 3.0]
    assert numbers(a) == [1.0]


@pytest.mark.skipif(BACKEND != "jax", reason="only on JAX values are returned from a condition")
def test_a_variable_that_was_not_announced_is_an_error() -> None:
    a, b = keras.Variable(1.0), keras.Variable(1.0)

    with pytest.raises(
        RuntimeError, match=r"1 variable\(s\) were assigned that were not announced"
    ):
        run_if(ops.convert_to_tensor(True), lambda: b.assign(2.0), [a])
    assert numbers(a, b) == [1.0, 1.0]


def test_without_replicas_assign_and_sum_are_plain() -> None:
    a = keras.Variable(np.zeros(2, "float32"))
    assign(a, ops.ones(2))

    assert replica_count() == 1
    assert ops.convert_to_numpy(a).tolist() == [1.0, 1.0]
    assert sum_over_replicas([3])[0] == 3


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX compiles a condition")
def test_outside_of_a_compiled_step_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    monkeypatch.delattr(jax.lax, "cond")
    variable = keras.Variable(1.0)

    for due in (False, True, False):
        run_if(ops.convert_to_tensor(due), lambda: variable.assign(variable + 1), [variable])

    assert float(variable) == 2.0
