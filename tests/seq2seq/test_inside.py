"""A look inside: probabilities are those of `score`, attention is read in the order of reading."""

import numpy as np
import pytest

from kooler.seq2seq.inside import attention_of, growth_of, look_inside
from kooler.seq2seq.order import ORDERS
from kooler.seq2seq.reserved_ids import EOS
from kooler.seq2seq.scoring import candidate_scores
from kooler.seq2seq.writer import Writer
from tests.seq2seq.small_run import small_run

TEXT, TITLE = "The bakery in Toro closes.", "Toro to close"


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    return Writer.load(small_run(tmp_path_factory.mktemp("run")).path)


def test_labels_read_as_text_where_they_can(writer):
    labels = attention_of(writer, "Z é", "to", "l2r").source_tokens

    assert labels == [" ", "Z", " ", "<0xC3>", "<0xA9>"]


@pytest.mark.parametrize("order", ["l2r", "r2l", "mid"])
def test_probabilities_are_those_of_the_model(writer, order):
    source, target = writer.encode(TEXT), writer.tokenizer.encode(TITLE)

    given = writer.model, np.array([source], "int32"), [[tuple(target)]]

    stream = look_inside(writer, source, target, order)

    # one compilation for the three orders
    expected = dict(zip(ORDERS, candidate_scores(*given, ORDERS)[0, :, 0], strict=True))[order]
    np.testing.assert_allclose(np.log(stream.probabilities).sum(), expected, rtol=1e-4)
    assert stream.ids[-1] == EOS
    assert sorted(stream.ids[:-1]) == sorted(target)
    assert stream.attention.shape == (len(target) + 1, len(source))
    np.testing.assert_allclose(stream.attention.sum(axis=1), 1, rtol=1e-5)


def test_attention_rows_are_the_title_as_it_reads(writer):
    source, target = writer.encode(TEXT), writer.tokenizer.encode(TITLE)
    stream = look_inside(writer, source, target, "mid")

    attention = attention_of(writer, TEXT, TITLE, "mid")

    assert "".join(attention.title_tokens) == " " + TITLE
    assert "".join(attention.source_tokens) == " " + TEXT
    # the first token is written first, the last one second
    np.testing.assert_allclose(attention.weights[0], stream.attention[0], rtol=1e-6)
    np.testing.assert_allclose(attention.weights[-1], stream.attention[1], rtol=1e-6)


@pytest.mark.parametrize("title", ["Toro to close", "Toro to close it"])
def test_a_title_grows_from_both_ends(writer, title):
    growth = growth_of(writer, TEXT, title)

    left = [token.text for step in growth.steps for token in step.left if not token.ends]
    right = [token.text for step in growth.steps for token in step.right if not token.ends]
    assert "".join(left + right[::-1]) == " " + title
    assert len(left) - len(right) in (0, 1)
    ends = [
        (token.ends, token.text) for step in growth.steps for token in (*step.left, *step.right)
    ]
    assert ends[-1] == (True, "")
    assert sum(end for end, _ in ends) == 1
