import keras
import numpy as np
import pytest
from keras import ops

from kooler.core import replay
from kooler.core.replay import Replayed, recorded_at_once

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="JAX and TensorFlow compile, nothing is replayed"
)


def tensor(*values):
    return ops.convert_to_tensor(np.array(values, "float32"))


def numbers(result):
    return [ops.convert_to_numpy(part).tolist() for part in result]


@pytest.fixture
def few_calls():
    """The third call of a shape is recorded."""
    token = replay._calls.set(3)
    yield
    replay._calls.reset(token)


def test_what_is_called_often_is_recorded_and_no_longer_called(few_calls):
    runs = []

    def function(x, y):
        runs.append(1)
        return [x * y + 1, x - y]

    replayed = Replayed(function)
    results = [numbers(replayed(tensor(value, 2.0), tensor(3.0, 4.0))) for value in range(6)]

    assert len(runs) == 3
    assert results == [
        [[value * 3 + 1, 9.0], [value - 3.0, -2.0]] for value in map(float, range(6))
    ]


def test_each_shape_type_and_stride_has_a_recording_of_its_own(few_calls):
    replayed = Replayed(lambda x: [ops.reshape(ops.cast(x, "float32"), (-1,)) * 2])
    square = ops.convert_to_tensor(np.arange(4, dtype="float32").reshape(2, 2))
    for _ in range(4):
        assert numbers(replayed(tensor(1.0))) == [[2.0]]
        assert numbers(replayed(square)) == [[0.0, 2.0, 4.0, 6.0]]
        assert numbers(replayed(square.T)) == [[0.0, 4.0, 2.0, 6.0]]
        (halves,) = replayed(ops.cast(square, "int32"))
        assert keras.backend.standardize_dtype(halves.dtype) == "float32"


def test_inside_of_recorded_at_once_the_first_call_is_recorded():
    runs = []
    replayed = Replayed(lambda x: [runs.append(1) or x + 1])
    with recorded_at_once():
        replayed(tensor(1.0))
    replayed(tensor(2.0))

    assert numbers(replayed(tensor(3.0))) == [[4.0]]
    assert len(runs) == 1


@pytest.fixture
def recorded():
    """Records a function for the shapes of its arguments."""

    def record(function, *tensors):
        replayed = Replayed(function)
        with recorded_at_once():
            replayed(*tensors)
        return replayed

    return record


def test_new_weights_count(recorded):
    weight = keras.Variable(np.array([1.0, 2.0], "float32"))
    replayed = recorded(lambda x: [x * weight, x + weight * 2], tensor(1.0, 1.0))
    weight.assign([5.0, 7.0])

    assert numbers(replayed(tensor(1.0, 1.0))) == [[5.0, 7.0], [11.0, 15.0]]


def test_one_tensor_may_be_given_twice(recorded):
    once = tensor(1.0)
    replayed = recorded(lambda x, y: [x - 2 * y], once, once)

    assert numbers(replayed(tensor(5.0), tensor(1.0))) == [[3.0]]


def test_constants_are_computed_once(recorded):
    """Of 1 + exp(0 … 3) the recording keeps the sum."""
    import torch

    def function(x):
        return [x + ops.sum(1 + ops.exp(ops.arange(4, dtype="float32")))]

    replayed = recorded(function, tensor(0.0))
    with torch.profiler.profile() as profile:
        (result,) = replayed(tensor(0.0))
    called = {event.key for event in profile.key_averages()}

    np.testing.assert_allclose(ops.convert_to_numpy(result), [4 + np.exp(np.arange(4)).sum()], 1e-6)
    assert "aten::add" in called
    assert not called & {"aten::exp", "aten::sum", "aten::arange"}


def test_a_constant_that_is_overwritten_begins_anew_at_each_call(recorded):
    import torch

    def function(x):
        counted = torch.zeros(2)
        view = counted[:1]
        view.add_(x)
        return [counted + 1]

    replayed = recorded(function, tensor(2.0))

    for _ in range(3):
        assert numbers(replayed(tensor(2.0))) == [[3.0, 1.0]]


def test_what_is_random_stays_random(recorded):
    import torch

    replayed = recorded(lambda x: [x + torch.rand(8)], tensor(0.0))

    assert numbers(replayed(tensor(0.0))) != numbers(replayed(tensor(0.0)))


def test_a_function_that_asks_for_a_value_stays_as_it_is():
    replayed = Replayed(lambda x: [x + 1 if float(x[0]) > 0 else x - 1])
    with recorded_at_once(), pytest.warns(UserWarning, match="it asks for the value of a tensor"):
        replayed(tensor(1.0))

    assert numbers(replayed(tensor(-1.0))) == [[-2.0]]
    assert numbers(replayed(tensor(1.0))) == [[2.0]]


def test_nothing_is_recorded_for_gradients():
    import torch

    weight = keras.Variable(np.ones(1, "float32"))
    replayed = Replayed(lambda x: [x * weight])
    with recorded_at_once(), torch.no_grad():
        replayed(tensor(1.0))
        assert not replayed(tensor(1.0))[0].requires_grad
