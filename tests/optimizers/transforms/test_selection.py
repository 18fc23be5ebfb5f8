"""`only`: each gradient its own transform."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import GradientTransform, transforms
from tests.optimizers.conformance import array, fresh_variables, gradients

(STREAM,) = gradients(steps=1)


def applied(transform: Any) -> list[np.ndarray]:
    return [
        array(g) for g in transform([ops.convert_to_tensor(g) for g in STREAM], fresh_variables())
    ]


def test_each_gradient_its_own_clipping() -> None:
    both = applied(transforms.only(["v1", "v3"], transforms.clip_by_norm(0.5)))

    for i, (new, old) in enumerate(zip(both, STREAM, strict=True)):
        expected = old * 0.5 / max(np.linalg.norm(old), 0.5) if i in (1, 3) else old
        np.testing.assert_allclose(new, expected, rtol=1e-6)


def test_a_global_norm_is_that_of_the_selected() -> None:
    found = applied(transforms.only(["v1", "v2"], transforms.clip_by_global_norm(1.0)))

    norm = np.sqrt(sum(np.sum(np.square(g)) for g in found[1:3]))
    np.testing.assert_allclose(norm, 1.0, rtol=1e-6)


def test_a_function_of_your_own() -> None:
    found = applied(transforms.only("v2", lambda gradients, variables: [-g for g in gradients]))

    np.testing.assert_array_equal(found[2], -STREAM[2])
    np.testing.assert_array_equal(found[3], STREAM[3])


def test_none_passes_through() -> None:
    transform = transforms.only("v1", transforms.clip_by_value(0.1))
    stream = [None, None, *[ops.convert_to_tensor(g) for g in STREAM[2:]]]
    transform.build(fresh_variables())

    assert transform(stream, fresh_variables())[:2] == [None, None]


def test_the_selector_is_resolved_among_all_variables() -> None:
    optimizer = GradientTransform("sgd", transforms.only("v9", transforms.zero_nans()))

    with pytest.raises(ValueError, match=r"The selector 'v9' matches none of the 4 variables"):
        optimizer.build(fresh_variables())
    with pytest.raises(ValueError, match=r"The selector 'v9' matches none of the 4 variables"):
        applied(transforms.only("v9", transforms.zero_nans()))


@pytest.mark.parametrize("wrong", ["clip", None, 1.0], ids=str)
def test_it_needs_a_function(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"`only` needs a transform, f\(gradients, variables\)"):
        transforms.only("v1", wrong)


def test_a_step_cannot_be_skipped_for_some() -> None:
    with pytest.raises(ValueError, match="`skip_nonfinite` skips whole steps, so it cannot be for"):
        transforms.only("v1", transforms.skip_nonfinite())


def test_a_layer_means_its_variables() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dense(1)])
    transform = transforms.only(model.layers[1], transforms.clip_by_value(0.5))

    found = transform([ops.ones(v.shape) for v in model.variables], model.variables)

    assert [float(array(g).max()) for g in found] == [1.0, 1.0, 0.5, 0.5]
