import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled
from kooler.seq2seq.generation import generate
from kooler.seq2seq.model import reserved_mask
from kooler.seq2seq.projection import projected, projection, projection_of
from kooler.seq2seq.reserved_ids import EOS, RESERVED
from kooler.seq2seq.top_k import BLOCK
from tests.seq2seq.small_model import small_model, small_recurrent

SOURCE = [[6, 7, 8], [9, 6]]


@pytest.mark.parametrize("size", [14, BLOCK, BLOCK + 1])
def test_it_is_a_product_without_the_reserved_ids(size):
    generator = np.random.default_rng(0)
    table, x = generator.standard_normal((size, 4)), generator.standard_normal((2, 3, 1, 4))
    tensors = [ops.convert_to_tensor(array.astype("float32")) for array in (table, x)]
    found = projected(tensors[1], projection(tensors[0], reserved_mask(size)))
    found = ops.convert_to_numpy(found)
    written = [EOS, *range(RESERVED, size)]

    assert found.shape == (2, 3, 1, -(-size // BLOCK) * BLOCK)
    np.testing.assert_allclose(found[..., written], (x @ table.T)[..., written], atol=1e-5)
    assert (np.delete(found, written, axis=-1) < -9e8).all()


def test_a_step_with_it_writes_what_a_step_without_it_does():
    model = small_model(70, layers=1)
    inputs, sides = np.array([[[6], [7]], [[8], [9]]], "int32"), (0,)

    def step(source, inputs):
        memory, time = model.encode(source), ops.convert_to_tensor(0, dtype="int32")
        given = (inputs, time, sides, model.first_state(2, 2, 1, 1), memory)
        ids = ops.convert_to_tensor(np.arange(70, dtype="int32"))
        kept = model.step_of_relatives(*given, model.projection(ids))[0]
        return kept, model.step_of_relatives(*given)[0]

    function = compiled(step, model.variables)
    with_it, without = map(ops.convert_to_numpy, function(np.array([[6, 7], [9, 0]]), inputs))

    np.testing.assert_allclose(with_it[..., :70], without, rtol=1e-5, atol=1e-5)
    assert (with_it[..., 70:] < -9e8).all()


def test_it_is_kept_until_the_weights_change():
    model = small_model(14, layers=1)
    first = projection_of(model, None)
    if keras.backend.backend() != "jax":  # weights change in place there
        assert first is None
        return
    assert projection_of(model, None) is first
    model.embeddings.assign(model.embeddings.value[::-1])

    np.testing.assert_array_equal(projection_of(model, None)[:-1, :14].T, model.embeddings.value)


@pytest.mark.compiles
def test_what_is_written_follows_the_weights():
    model, other = small_model(14, layers=1), small_model(14, layers=1, seed=1)
    options = {"order": "l2r", "beam_size": 2, "max_length": 5}
    before = generate(model, SOURCE, **options)
    for variable, value in zip(model.variables, other.variables, strict=True):
        variable.assign(value)
    after, expected = (generate(one, SOURCE, **options) for one in (model, other))

    np.testing.assert_array_equal(after.ids, expected.ids)
    np.testing.assert_array_equal(after.log_probs, expected.log_probs)
    assert not np.array_equal(before.log_probs, after.log_probs)


@pytest.mark.parametrize("copying", ["pointer", "copy_prior"])
def test_it_is_not_for_logits_that_something_else_reads(copying):
    assert projection_of(small_model(14, layers=1, **{copying: True}), None) is None
    assert projection_of(small_recurrent(14, layers=1), None) is None
