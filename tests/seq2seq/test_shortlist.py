"""A search among some tokens: the specification is a softmax over those tokens alone."""

import shutil

import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled
from kooler.seq2seq import generate
from kooler.seq2seq.order import ORDERS, layout
from kooler.seq2seq.reserved_ids import EOS, RESERVED
from kooler.seq2seq.shortlist import checked_shortlist, written_tokens
from tests.seq2seq.small_model import small_model, small_pair, small_recurrent
from tests.seq2seq.small_run import small_run

SOURCES = [[6, 7, 8], [9, 6]]
SOME = [13, 7, 9, 11]


@pytest.fixture(scope="module")
def model():
    return small_model(14, layers=1)


def log_prob(model, source, target, order):
    """The log p of a target when only `SOME` and EOS can be written."""

    def function(source, target):
        streams = layout(target, ops.convert_to_tensor([[ORDERS.index(order)]], dtype="int32"))
        logits, _ = model.decode(streams, model.encode(source))
        return logits, streams.targets, streams.weight

    found = compiled(function, model.variables)(
        np.array([source], "int32"), np.array([[[*target, 0]]], "int32")
    )
    logits, targets, weight = (ops.convert_to_numpy(part)[0, 0] for part in found)
    allowed = [EOS, *SOME]
    total = np.log(np.exp(logits[:, allowed].astype("float64")).sum(-1))
    chosen = np.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    return float(((chosen - total) * (weight > 0)).sum())


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_probabilities_are_those_among_its_tokens(model, order):
    found = generate(model, SOURCES, order=order, beam_size=3, shortlist=SOME, max_length=5)

    for row, source in enumerate(SOURCES):
        target = [int(token) for token in found.ids[row, 0] if token]
        assert set(target) <= set(SOME)
        expected = log_prob(model, source, target, order)
        np.testing.assert_allclose(found.log_probs[row, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.compiles
def test_a_list_of_all_tokens_changes_nothing(model):
    options = {"order": "best", "beam_size": 3, "max_length": 5, "n_best": 2}
    everything = generate(model, SOURCES, shortlist=range(RESERVED, 14), **options)
    usual = generate(model, SOURCES, **options)

    np.testing.assert_array_equal(everything.ids, usual.ids)
    np.testing.assert_allclose(everything.log_probs, usual.log_probs, rtol=1e-5, atol=1e-5)


@pytest.mark.compiles
def test_banned_tokens_stay_banned_and_samples_keep_to_it(model):
    options = {"order": "l2r", "beam_size": 3, "max_length": 5, "n_best": 3, "shortlist": SOME}
    found = generate(model, SOURCES, banned_tokens=[9], **options)
    drawn = generate(model, SOURCES, temperature=2.0, **options)

    assert set(found.ids.flat) <= {0, *SOME} - {9}
    assert set(drawn.ids.flat) <= {0, *SOME}


def test_the_list_has_the_reserved_ids_first_and_each_token_once(model):
    assert checked_shortlist(model, [9, 7, 9]).tolist() == [*range(RESERVED), 7, 9]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([7, 14], "ids from 6 to 13, received 14"), ([1], "received 1"), ([], "received no id")],
)
def test_ids_that_a_model_has_not_are_refused(model, tokens, message):
    with pytest.raises(ValueError, match=message):
        checked_shortlist(model, tokens)


@pytest.mark.parametrize(
    "other",
    [
        lambda: small_model(14, layers=1, pointer=True),
        lambda: small_recurrent(14, layers=1),
        lambda: small_pair(14, layers=1),
    ],
    ids=["pointer", "recurrent", "synchronous"],
)
def test_models_with_other_scores_are_refused(other):
    with pytest.raises(ValueError, match="Leave it out"):
        generate(other(), SOURCES, shortlist=SOME)


def test_the_tokens_that_targets_are_made_of_are_counted_in_the_run(tmp_path):
    run = small_run(tmp_path)
    tokenizer, lines = run.tokenizer(), (tmp_path / "train.tsv").read_text("utf-8").splitlines()
    rows = [tokenizer.encode(line.split("\t")[1]) for line in lines]
    kept = [row for row in rows if len(row) <= run.settings().target_length]  # others are dropped

    assert written_tokens(run.path).tolist() == sorted({token for row in kept for token in row})
    shutil.rmtree(run.data_path)
    with pytest.raises(ValueError, match="without its training pairs"):
        written_tokens(run.path)
