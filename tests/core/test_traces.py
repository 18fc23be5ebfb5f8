"""The trace that runs: another one inside of loops and branches, the same one else."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.traces import current_trace
from tests.conftest import BACKEND

X = np.ones((2, 3), "float32")


class Looks(keras.layers.Layer):
    """Compares the trace of the call with that of a loop, a branch and a layer below."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = keras.layers.Lambda(self.look)
        self.kernel = keras.Variable(np.ones(3, "float32"))
        self.here: Any = None
        self.seen: list[bool] = []

    def look(self, x: Any) -> Any:
        self.seen.append(current_trace() == self.here)
        return x

    def call(self, x: Any) -> Any:
        self.here, self.seen = current_trace(), []
        x = self.look(self.inner(x * self.kernel))
        x = ops.cond(ops.sum(x) > -1e9, lambda: self.look(x), lambda: x * 1.0)
        return ops.fori_loop(0, 2, lambda _, carry: self.look(carry), x)


@pytest.mark.parametrize("train", [True, False])
def test_loops_and_branches_are_elsewhere(train: bool) -> None:
    looks = Looks()
    model = keras.Sequential([keras.Input((3,)), looks])
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0) if train else model.predict(X, verbose=0)

    inside = BACKEND == "torch"  # where Python runs the loop
    assert looks.seen[:2] == [True, True]
    assert set(looks.seen[2:]) == {inside}


def test_outside_of_any_trace_all_is_one_place() -> None:
    assert current_trace() == current_trace()
