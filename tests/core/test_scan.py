"""The loop over parts."""

from typing import Any

import numpy as np
import pytest
from keras import ops

from kooler.core.differentiate import differentiate
from kooler.core.scan import repeat, scan
from tests.conftest import BACKEND

PARTS = np.arange(12, dtype="float32").reshape(4, 3)


def body(carry: Any, part: Any) -> Any:
    total, count = carry
    return (total + part["x"], count + 1), {"mean": ops.mean(part["x"]), "before": total}


def check(carry: Any, outputs: Any) -> None:
    assert ops.convert_to_numpy(carry[0]).tolist() == [18.0, 22.0, 26.0]
    assert int(carry[1]) == 4
    assert ops.convert_to_numpy(outputs["mean"]).tolist() == [1.0, 4.0, 7.0, 10.0]
    assert ops.convert_to_numpy(outputs["before"]).tolist() == [
        [0, 0, 0], [0, 1, 2], [3, 5, 7], [9, 12, 15],
    ]  # fmt: skip


def test_carry_goes_on_and_outputs_are_stacked() -> None:
    start = (ops.zeros(3), ops.zeros((), "int32"))

    check(*scan(body, start, {"x": ops.convert_to_tensor(PARTS)}))


def test_one_part_is_a_turn_as_well() -> None:
    start = (ops.zeros(3), ops.zeros((), "int32"))
    carry, outputs = scan(body, start, {"x": ops.convert_to_tensor(PARTS[:1])})

    assert int(carry[1]) == 1
    assert ops.convert_to_numpy(outputs["mean"]).tolist() == [1.0]
    assert ops.convert_to_numpy(outputs["before"]).tolist() == [[0, 0, 0]]


@pytest.mark.skipif(BACKEND == "torch", reason="runs eagerly on PyTorch")
def test_inside_of_a_compiled_function() -> None:
    def run(parts: Any) -> Any:
        return scan(body, (ops.zeros(3), ops.zeros((), "int32")), {"x": parts})

    if BACKEND == "jax":
        import jax

        check(*jax.jit(run)(PARTS))
    else:
        import tensorflow as tf

        check(*tf.function(run)(PARTS))


def test_a_gradient_is_taken_inside_of_the_loop() -> None:
    def turn(total: Any, part: Any) -> Any:
        _, (gradient,) = differentiate(lambda t: (ops.sum(t[0] ** 2), None), [part])
        return total + gradient, ops.sum(gradient)

    total, sums = scan(turn, ops.zeros(3), ops.convert_to_tensor(PARTS))

    assert ops.convert_to_numpy(total).tolist() == [36.0, 44.0, 52.0]
    assert ops.convert_to_numpy(sums).tolist() == [6.0, 24.0, 42.0, 60.0]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_repeat_cuts_its_own_parts(count: int) -> None:
    def turn(total: Any, index: Any) -> Any:
        part = ops.take(ops.convert_to_tensor(PARTS), index, axis=0)
        return total + part, {"row": part}

    total, outputs = repeat(turn, ops.zeros(3), count, {"row": ops.ones(3)})

    assert ops.convert_to_numpy(total).tolist() == PARTS[:count].sum(0).tolist()
    assert ops.convert_to_numpy(outputs["row"]).tolist() == PARTS[:count].tolist()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="elsewhere the number of turns is known")
@pytest.mark.parametrize("compiled", [False, True])
def test_the_number_of_turns_may_depend_on_the_data(compiled: bool) -> None:
    import tensorflow as tf

    @tf.function(
        jit_compile=compiled, reduce_retracing=True, input_signature=[tf.TensorSpec((None, 3))]
    )
    def run(x: Any) -> Any:
        def turn(total: Any, index: Any) -> Any:
            pair = tf.gather(x, 1 + 2 * index + tf.range(2))
            return total + tf.reduce_sum(pair, 0), pair

        return repeat(turn, tf.zeros(3), (tf.shape(x)[0] - 1) // 2, x[:1])

    for rows in (1, 3, 5):
        total, pairs = run(tf.ones((rows, 3)))
        assert total.numpy().tolist() == [rows - 1.0] * 3
        assert pairs.numpy().reshape(-1, 3).shape == (rows - 1, 3)
