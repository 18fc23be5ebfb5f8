import numpy as np
from keras import ops

from kooler.seq2seq.r_drop import difference, doubled


def test_the_difference_of_two_passes_is_the_mean_of_both_divergences():
    logits = np.random.default_rng(0).standard_normal((4, 2, 3, 5))
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    p, q = np.exp(log_probs).reshape(2, 2, 2, 3, 5)
    expected = ((p * np.log(p / q)).sum(-1) + (q * np.log(q / p)).sum(-1)) / 2

    found = difference(ops.convert_to_tensor(logits.astype("float32")))

    np.testing.assert_allclose(ops.convert_to_numpy(found), np.tile(expected, (2, 1, 1)), atol=1e-6)


def test_two_equal_passes_have_no_difference():
    rows = ops.convert_to_tensor(np.random.default_rng(1).random((3, 1, 2, 4), "float32"))

    assert not ops.convert_to_numpy(difference(doubled(rows))).any()
