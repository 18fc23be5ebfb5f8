"""What Keras's own accumulation does otherwise, and that ours does it right.

Each test first shows Keras's result.  When one of these fails, Keras has mended it: then the pages
that tell of it need a new sentence, and the test may go.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.batch import Batch, applying
from kooler.optimizers import Accumulate
from tests.conftest import BACKEND
from tests.optimizers.conformance import array


def keras_sgd(steps: int, **arguments: Any) -> Any:
    return keras.optimizers.SGD(1.0, gradient_accumulation_steps=steps, **arguments)


def our_sgd(steps: int, **arguments: Any) -> Any:
    return Accumulate(keras.optimizers.SGD(1.0, **arguments), steps)


def fed(optimizer: Any, numbers: list[float], variable: Any = None) -> list[float]:
    """The weight after each of these gradients, from 0."""
    variable = keras.Variable([0.0]) if variable is None else variable
    seen = []
    for number in numbers:
        optimizer.apply([ops.convert_to_tensor([number])], [variable])
        seen.append(array(variable).item())
    return seen


def fitted(optimizer: Any, sizes: list[int], fits: int = 1) -> float:
    """A weight after `fit` on batches of these sizes, whose gradients are 1, 2, 3 and so on."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer, loss=lambda y, prediction: prediction)
    batches = [(np.full((n, 1), i + 1.0), np.ones((n, 1))) for i, n in enumerate(sizes)]
    for _ in range(fits):
        model.fit(Batches(batches), shuffle=False, verbose=0)
    return array(layer.kernel).item()


class Batches(keras.utils.PyDataset):
    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def test_a_the_last_partial_window_waits_and_leaks_into_the_next_fit() -> None:
    assert fitted(keras_sgd(2), [1, 1, 1]) == -1.5  # the gradient 3 is not applied
    assert fitted(keras_sgd(2), [1, 1, 1], fits=2) == -1.5 - (3 + 1) / 2 - (2 + 3) / 2

    assert fitted(our_sgd(2), [1, 1, 1]) == -1.5 - 3
    assert fitted(our_sgd(2), [1, 1, 1], fits=2) == 2 * (-1.5 - 3)


def test_b_unequal_batches_count_alike() -> None:
    assert fitted(keras_sgd(2), [8, 2]) == -1.5

    assert fitted(our_sgd(2), [8, 2]) == pytest.approx(-1.2, abs=1e-6)  # (8·1 + 2·2) / 10


def test_c_schedules_count_batches() -> None:
    def optimizer(**arguments: Any) -> Any:
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.0])
        return keras.optimizers.SGD(rate, **arguments)

    steps = [1.0] * 6
    assert fed(optimizer(gradient_accumulation_steps=2), steps)[1::2] == [-1.0, -1.0, -1.0]

    assert fed(Accumulate(optimizer(), 2), steps)[1::2] == [-1.0, -2.0, -2.0]


@pytest.mark.skipif(BACKEND != "jax", reason="only on JAX is the update computed and thrown away")
def test_d_every_batch_pays_for_an_update() -> None:
    assert "sqrt" in unconditional(keras.optimizers.Adam(0.1, gradient_accumulation_steps=2))

    assert "sqrt" not in unconditional(Accumulate(keras.optimizers.Adam(0.1), 2))


def unconditional(optimizer: Any) -> set[str]:
    """The operations that an optimizer's step runs in any case."""
    import jax

    weight = keras.Variable(np.ones(3, "float32"))
    optimizer.build([weight])
    state = [variable.value for variable in optimizer.variables]
    program = jax.make_jaxpr(optimizer.stateless_apply)(state, [ops.ones(3)], [weight.value])
    return set(operations(program.jaxpr))


def operations(program: Any) -> Iterator[str]:
    for equation in program.eqns:
        yield equation.primitive.name
        if "jaxpr" in equation.params and equation.primitive.name != "cond":
            yield from operations(equation.params["jaxpr"].jaxpr)


def test_e_constraints_act_after_every_batch() -> None:
    def halved() -> Any:
        variable = keras.Variable([16.0])
        variable.constraint = lambda weight: weight / 2
        return variable

    assert fed(keras_sgd(2), [0.0] * 4, halved()) == [8.0, 4.0, 2.0, 1.0]

    assert fed(our_sgd(2), [0.0] * 4, halved()) == [16.0, 8.0, 8.0, 4.0]


def test_f_the_moving_average_moves_with_every_batch() -> None:
    def average(optimizer: Any) -> float:
        fed(optimizer, [-1.0] * 8)  # the weight is 1, 2, 3, 4 after the updates
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        (slot,) = [v for v in inner.variables if v.path.endswith("average")]
        return array(slot).item()

    exact = 1.0  # the first update copies
    for weight in (2.0, 3.0, 4.0):
        exact = 0.5 * exact + 0.5 * weight
    momentum = {"use_ema": True, "ema_momentum": 0.5}

    assert average(keras_sgd(2, **momentum)) == pytest.approx(3.34375, abs=1e-6)
    assert average(our_sgd(2, **momentum)) == pytest.approx(exact, abs=1e-6)


def test_b_batches_of_many_and_of_few_tokens_count_alike() -> None:
    assert fed(keras_sgd(2), [1.0, 5.0])[-1] == -3.0  # whatever they were divided by

    weight = keras.Variable([0.0])
    optimizer = our_sgd(2)
    for tokens, gradient in ((30.0, 1.0), (10.0, 5.0)):
        with applying(Batch(examples=8, reported=tokens)):
            optimizer.apply([ops.convert_to_tensor([gradient])], [weight])

    assert array(weight).item() == pytest.approx(-2.0, abs=1e-6)
