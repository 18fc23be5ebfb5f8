import subprocess
import sys

import keras
import numpy as np
import pytest

from kooler.seq2seq import export_saved_model, generate
from kooler.seq2seq.order import ORDERS, sentence_of
from tests.seq2seq.small_model import small_model

SOURCES = [[6, 7, 8], [9, 9, 10, 13, 6, 7, 12]]
PADDED = np.array([source + [0] * (8 - len(source)) for source in SOURCES], "int32")
ELSEWHERE = """
import sys
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
found = loaded.search(tf.constant(np.load(sys.argv[2])))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in found.items()})
assert "kooler" not in sys.modules
"""

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow writes a SavedModel"
)


@pytest.mark.slow
@only_tensorflow
@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_another_process_finds_the_same_without_kooler(tmp_path, order):
    model = small_model(14, layers=1)
    export_saved_model(
        model, tmp_path / "exported", order=order, beam_size=3, batch_size=2, source_length=8
    )
    np.save(tmp_path / "source.npy", PADDED)
    paths = [str(tmp_path / name) for name in ("exported", "source.npy", "found.npz")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *paths], check=True, timeout=300)
    found = np.load(tmp_path / "found.npz")
    expected = generate(model, SOURCES, order=order, beam_size=3, n_best=3)

    np.testing.assert_allclose(found["scores"], expected.scores, rtol=1e-5, atol=1e-5)
    for row, place in np.ndindex(2, 3):
        stream = found["tokens"][row, place]
        ids = expected.ids[row, place]
        assert sentence_of(stream[stream != 0], order).tolist() == ids[ids != 0].tolist()


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow can write it")
def test_another_backend_says_which_one_can(tmp_path):
    with pytest.raises(ValueError, match="written by TensorFlow, received a model on"):
        export_saved_model(small_model(14, layers=1), tmp_path)


@only_tensorflow
def test_several_searches_are_refused(tmp_path):
    with pytest.raises(ValueError, match='"best" is several searches'):
        export_saved_model(small_model(14, layers=1, orders=ORDERS), tmp_path, order="best")
