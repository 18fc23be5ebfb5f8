"""No hook changes the outputs of a model when it should not, whatever the model."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kooler.core import compat
from kooler.core.hooks import is_hooked
from kooler.layers import Scale, merge, reparametrize
from kooler.models import Capture
from tests.architectures import ARCHITECTURES, build

X = np.random.default_rng(4).normal(size=(6, 4)).astype("float32")

pytestmark = pytest.mark.slow


def built(**architecture: Any) -> keras.Model:
    model = build(**architecture)
    model.predict(X, verbose=0)
    return model


def left_alone(model: keras.Model) -> bool:
    return not any(is_hooked(layer) for layer in compat.flat_layers(model))


def assert_unchanged(found: np.ndarray, before: np.ndarray) -> None:
    """The same bits; TensorFlow fuses a layer's operations where nothing looks between them, so
    there a captured model may round its last bits otherwise than the plain one.
    """
    rounding = 2e-7 if keras.backend.backend() == "tensorflow" else 0.0
    np.testing.assert_allclose(found, before, rtol=0, atol=rounding * np.abs(before).max())


@settings(max_examples=20)
@given(patched=st.booleans(), **ARCHITECTURES)
def test_captured_and_patched_by_themselves(patched: bool, **architecture: Any) -> None:
    model = built(**architecture)
    before = model.predict(X, verbose=0)
    patch = {layer.name: lambda tensor: tensor for layer in model.layers[1:]} if patched else None

    values = Capture(model, "*", patch=patch).predict(X, verbose=0)

    assert_unchanged(values["output"], before)
    assert_unchanged(values[model.layers[-1].name], before)
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)
    assert left_alone(model)


@settings(max_examples=20)
@given(**ARCHITECTURES)
def test_trained_with_hooks_as_without(**architecture: Any) -> None:
    weights = []
    for captured in (False, True):
        keras.utils.set_random_seed(1)
        model = built(**architecture)
        trained = Capture(model, "*") if captured else model
        trained.compile("sgd", loss={"output": "mse"} if captured else "mse")
        y = {"output": X[:, :1]} if captured else X[:, :1]
        trained.fit(X, y, batch_size=3, shuffle=False, verbose=0)
        weights.append(model.get_weights())

    for plain, hooked in zip(*weights, strict=True):
        np.testing.assert_array_equal(plain, hooked)


@settings(max_examples=20)
@given(**ARCHITECTURES)
def test_reparametrized_by_one_and_merged(**architecture: Any) -> None:
    assume("constrained" not in architecture["blocks"])  # a constraint excludes it
    model = built(**architecture)
    before = model.predict(X, verbose=0)

    reparametrize(model, "kernel$", Scale(1.0))
    during = model.predict(X, verbose=0)
    merge(model)

    np.testing.assert_array_equal(during, before)
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)
