"""Each technique trains on two devices as on one: the weights, and all that it keeps."""

from typing import Any

import numpy as np
import pytest

from tests.conftest import BACKEND
from tests.core.children import printed_by

pytestmark = pytest.mark.slow


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_two_replicas_train_as_one() -> None:
    """Keras's own accumulation raises there: "merge_call called while defining a new graph"."""
    for case, (one, two) in printed_by("tests.optimizers.replicas").items():
        assert_close(two, one, case)


@pytest.mark.skipif(BACKEND != "jax", reason="Keras distributes arrays on JAX only")
def test_two_devices_train_as_one() -> None:
    for case, (one, *others) in printed_by("tests.optimizers.devices")["weights"].items():
        for other in others:
            assert_close(other, one, case)


def assert_close(ours: list[Any], expected: list[Any], case: str) -> None:
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=case)
