import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled


@pytest.fixture
def scale():
    return keras.Variable(np.array([1.0, 2.0], "float32"), name="scale")


def test_a_compiled_function_gives_what_the_plain_one_gives(scale):
    function = compiled(lambda x, y: {"product": x * scale, "sum": (x + y,)}, [scale])
    x, y = np.array([3.0, 4.0], "float32"), np.array([5.0, 6.0], "float32")
    result = function(x, y)

    np.testing.assert_allclose(ops.convert_to_numpy(result["product"]), [3.0, 8.0])
    np.testing.assert_allclose(ops.convert_to_numpy(result["sum"][0]), [8.0, 10.0])


def test_the_current_value_of_a_variable_is_read_at_every_call(scale):
    function = compiled(lambda x: x * scale, [scale])
    x = np.ones(2, "float32")
    function(x)
    scale.assign([10.0, 20.0])

    np.testing.assert_allclose(ops.convert_to_numpy(function(x)), [10.0, 20.0])


def test_shapes_may_change_from_call_to_call(scale):
    function = compiled(lambda x: ops.sum(x) + scale, [scale])

    np.testing.assert_allclose(ops.convert_to_numpy(function(np.ones(3, "float32"))), [4.0, 5.0])
    np.testing.assert_allclose(ops.convert_to_numpy(function(np.ones(5, "float32"))), [6.0, 7.0])


def test_a_loop_runs_inside(scale):
    def powers(x):
        return ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * scale), (0, x))[1]

    result = compiled(powers, [scale])(np.ones(2, "float32"))

    np.testing.assert_allclose(ops.convert_to_numpy(result), [1.0, 8.0])


def test_nothing_is_recorded_for_gradients(scale):
    result = compiled(lambda x: x * scale, [scale])(np.ones(2, "float32"))

    assert not getattr(result, "requires_grad", False)
