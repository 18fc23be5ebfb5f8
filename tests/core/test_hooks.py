"""Hooks around `call`: they nest, keep to their thread, and leave nothing behind."""

import threading
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.hooks import hook, hooked, is_hooked, plain_call, replaced, reset_functions

X = np.ones((2, 3), "float32")


def plus(amount: float) -> Any:
    return lambda call, *args, **kwargs: call(*args, **kwargs) + amount


def times(factor: float) -> Any:
    return lambda call, *args, **kwargs: call(*args, **kwargs) * factor


def value(layer: Any) -> float:
    return float(ops.convert_to_numpy(layer(X))[0, 0])


@pytest.fixture
def layer() -> keras.layers.Layer:
    return keras.layers.Identity(name="layer")


def test_a_hook_stands_around_the_call_and_is_taken_away(layer: Any) -> None:
    with hooked({layer: plus(2.0)}):
        inside = value(layer)

    assert (inside, value(layer)) == (3.0, 1.0)
    assert "call" not in layer.__dict__


def test_the_last_hook_is_outermost(layer: Any) -> None:
    with hooked({layer: plus(2.0)}), hooked({layer: times(10.0)}):
        inner_first = value(layer)
    with hooked({layer: times(10.0)}), hooked({layer: plus(2.0)}):
        outer_first = value(layer)

    assert (inner_first, outer_first) == (30.0, 12.0)


def test_lasting_hooks_stand_inside_of_temporary_ones(layer: Any) -> None:
    with hooked({layer: times(10.0)}):
        handle = hook(layer, plus(2.0))
        both = value(layer)
    lasting = value(layer)
    handle.remove()
    handle.remove()

    assert (both, lasting, value(layer)) == (30.0, 3.0, 1.0)
    assert not is_hooked(layer)


def test_a_hook_need_not_call(layer: Any) -> None:
    with hooked({layer: lambda call, x: ops.zeros_like(x)}):
        assert value(layer) == 0.0


def test_hooks_stand_around_what_replaces_the_call(layer: Any) -> None:
    handle = hook(layer, plus(2.0))
    with hooked({layer: times(10.0)}), replaced({layer: lambda x: x * 4.0}):
        inside = value(layer)
    after = value(layer)
    handle.remove()

    assert (inside, after) == (60.0, 3.0)
    assert not is_hooked(layer)


def test_the_last_replacement_counts_and_the_first_comes_back(layer: Any) -> None:
    with replaced({layer: lambda x: x * 4.0}):
        with replaced({layer: lambda x: x * 5.0}):
            inner = value(layer)
        outer = value(layer)

    assert (inner, outer, value(layer)) == (5.0, 4.0, 1.0)


def test_the_call_without_hooks_can_be_asked_for(layer: Any) -> None:
    with hooked({layer: times(10.0)}):
        assert float(ops.convert_to_numpy(plain_call(layer)(X))[0, 0]) == 1.0
    assert plain_call(layer) == layer.call


def test_after_an_exception_the_layer_is_as_it_was(layer: Any) -> None:
    other = keras.layers.Identity()
    with pytest.raises(KeyError), hooked({layer: plus(1.0), other: plus(1.0)}):
        raise KeyError

    assert not is_hooked(layer)
    assert not is_hooked(other)


def test_an_exception_inside_of_the_hook_too(layer: Any) -> None:
    def fails(call: Any, *args: Any) -> Any:
        raise KeyError("here")

    with hooked({layer: fails}), pytest.raises(KeyError, match="here"):
        layer(X)

    assert value(layer) == 1.0


def test_what_another_put_there_comes_back(layer: Any) -> None:
    layer.__dict__["call"] = patch = lambda x: x + 5.0
    with hooked({layer: times(10.0)}):
        assert value(layer) == 60.0

    assert layer.__dict__["call"] is patch


def test_removing_in_the_wrong_order_is_an_error(layer: Any) -> None:
    handle = hook(layer, plus(1.0))
    layer.__dict__["call"] = lambda x: x

    with pytest.raises(RuntimeError, match="in the opposite order in which they came"):
        handle.remove()


def test_another_thread_sees_no_temporary_hook(layer: Any) -> None:
    seen: list[float] = []
    with hooked({layer: plus(2.0)}):
        thread = threading.Thread(target=lambda: seen.append(value(layer)))
        thread.start()
        thread.join()
        here = value(layer)

    assert (seen, here) == ([1.0], 3.0)


def test_hooks_of_two_threads_overlap(layer: Any) -> None:
    entered, leave = threading.Event(), threading.Event()
    seen: list[float] = []

    def other() -> None:
        with hooked({layer: times(10.0)}):
            entered.set()
            leave.wait(10)
            seen.append(value(layer))

    thread = threading.Thread(target=other)
    with hooked({layer: plus(2.0)}):
        thread.start()
        entered.wait(10)
        here = value(layer)
    leave.set()
    thread.join()

    assert (here, seen) == (3.0, [10.0])
    assert not is_hooked(layer)


def test_a_model_is_hooked_in_predict_once_its_functions_are_reset() -> None:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Identity(name="deep")])
    model = keras.Sequential([keras.Input((3,)), inner])
    model.compile("sgd", "mse")
    before = float(model.predict(X, verbose=0)[0, 0])
    handle = hook(inner.get_layer("deep"), plus(2.0))
    reset_functions(model)
    during = float(model.predict(X, verbose=0)[0, 0])
    handle.remove()
    reset_functions(model)

    assert (before, during, float(model.predict(X, verbose=0)[0, 0])) == (1.0, 3.0, 1.0)


def test_reset_reaches_the_models_inside() -> None:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Identity()])
    model = keras.Sequential([keras.Input((3,)), inner])
    for one in (inner, model):
        one.compile("sgd", "mse")
        one.predict(X, verbose=0)
    reset_functions(model)

    assert inner.predict_function is None
    assert model.predict_function is None


def test_a_hooked_layer_is_saved_as_the_plain_layer(layer: Any) -> None:
    with hooked({layer: plus(2.0)}):
        config = layer.get_config()

    assert value(keras.layers.Identity.from_config(config)) == 1.0
