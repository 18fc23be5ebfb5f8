"""Every promise, for every technique: see `conformance.py`; the rows are in `cases.py`."""

from typing import Any

import keras
import numpy as np
import pytest

from tests.optimizers import resume
from tests.optimizers.cases import ALL, DAILY, SINGLE
from tests.optimizers.conformance import array, follow_oracle, fresh_variables, gradients
from tests.optimizers.oracles import AdamOracle, SGDOracle

INNER = {
    "sgd": (lambda: keras.optimizers.SGD(0.1), lambda: SGDOracle(0.1), 2e-6),
    "adam": (lambda: keras.optimizers.Adam(0.1), lambda: AdamOracle(0.1), 2e-5),
}


SLOW_INNER = ["sgd", pytest.param("adam", marks=pytest.mark.slow)]


SLOW_CASES = [name if name in DAILY else pytest.param(name, marks=pytest.mark.slow) for name in ALL]


@pytest.mark.parametrize("inner", SLOW_INNER)
@pytest.mark.parametrize("name", SLOW_CASES)
def test_exact(name: str, inner: str) -> None:
    make, oracle, tolerance = INNER[inner]
    wrappers = 1 + name.count(" of ")  # each rounds to float32 once more

    follow_oracle(ALL[name], make(), oracle(), tolerance * wrappers, flush_after=25)


@pytest.mark.parametrize("inner", SLOW_INNER)
@pytest.mark.parametrize("name", [case.name for case in SINGLE if case.neutral])
def test_neutral(name: str, inner: str) -> None:
    make, _, _ = INNER[inner]
    neutral = ALL[name].neutral
    assert neutral is not None
    trained = []
    for optimizer in (neutral(make()), make()):
        variables = fresh_variables()
        for stream in gradients(steps=10):
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in stream], variables)
        trained.append([array(variable) for variable in variables])

    for ours, plain in zip(*trained, strict=True):
        np.testing.assert_array_equal(ours, plain)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    directory = tmp_path_factory.mktemp("resume")
    whole = {
        name: resume.train_and_save(name, ALL[name].wrap(keras.optimizers.Adam(0.1)), directory)
        for name in DAILY
    }
    return whole, resume.continue_in_child(directory)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the first one waits for all trainings and for the child
@pytest.mark.parametrize("step", range(1, resume.STEPS))
@pytest.mark.parametrize("name", DAILY)
def test_resumable(name: str, step: int, resumed: tuple[Any, Any]) -> None:
    whole, continued = resumed

    assert whole[name].keys() == continued[name, step].keys()
    for key, expected in whole[name].items():
        np.testing.assert_array_equal(continued[name, step][key], expected)


def test_a_wrong_technique_is_caught() -> None:
    """The suite itself: a planted fault must fail it."""
    from tests.optimizers.conformance import Case
    from tests.optimizers.oracles import WindowOracle
    from tests.toys import Window

    wrong = Case("wrong", lambda o: Window(o, 4), lambda o: WindowOracle(o, 3), state=("sums",))

    with pytest.raises(AssertionError, match="wrong, step 3, weights"):
        follow_oracle(wrong, keras.optimizers.SGD(0.1), SGDOracle(0.1), 2e-6, flush_after=25)


def test_a_wrong_state_is_caught() -> None:
    from tests.optimizers.conformance import Case
    from tests.optimizers.oracles import TrailOracle
    from tests.toys import Trail

    wrong = Case(
        "wrong", lambda o: Trail(o, 0.5), lambda o: TrailOracle(o, 0.4), state=("averages",)
    )

    with pytest.raises(AssertionError, match="wrong, step 1, averages"):
        follow_oracle(wrong, keras.optimizers.SGD(0.1), SGDOracle(0.1), 2e-6, flush_after=25)
