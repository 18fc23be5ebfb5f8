import numpy as np
import pytest
from keras import ops

from kooler.core.placing import placed


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("start", [0, 2])
def test_a_part_is_written_from_an_index_on(axis, start):
    whole = np.arange(64, dtype="float32").reshape(4, 4, 4)
    part = -np.ones(np.delete(whole.shape, axis).tolist(), "float32")
    part = np.stack([part, 2 * part], axis=axis)
    expected = whole.copy()
    expected[(slice(None),) * axis + (slice(start, start + 2),)] = part

    given = ops.convert_to_tensor(whole)
    found = placed(given, ops.convert_to_tensor(part), ops.convert_to_tensor(start), axis)

    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(given), whole)


def test_a_part_of_another_type_is_taken_over():
    whole, part = np.zeros(3, "float32"), np.array([7], "int32")
    found = placed(ops.convert_to_tensor(whole), ops.convert_to_tensor(part), 1, 0)

    np.testing.assert_array_equal(ops.convert_to_numpy(found), [0, 7, 0])
