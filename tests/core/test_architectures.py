"""Random architectures attach, train, save, load and go on."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.core.attach import attachment_of
from tests.architectures import ARCHITECTURES, build
from tests.toys import Identity, Trail, Window

X = np.random.default_rng(3).normal(size=(10, 4)).astype("float32")
Y = np.sum(X, axis=1, keepdims=True)


@pytest.mark.slow
@settings(max_examples=20)
@given(technique=st.booleans(), **ARCHITECTURES)
def test_random_architectures(technique: bool, **architecture: Any) -> None:
    model = build(**architecture)
    model.compile(Trail(Window(keras.optimizers.SGD(0.01), 2)), loss="mse")
    if technique:
        Identity().inject(model)
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    with tempfile.TemporaryDirectory() as directory:
        model.save(Path(directory) / "model.keras")
        loaded = keras.models.load_model(Path(directory) / "model.keras")
    for one in (model, loaded):
        one.fit(X, Y, batch_size=4, shuffle=False, verbose=0)

    assert [type(one) for one in attachment_of(loaded).wrappers] == [Trail, Window]
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
