"""Sizes: what is counted here without Keras is what the model has."""

import pytest

from kooler.seq2seq import Seq2Seq
from kooler.seq2seq.sizes import SIZES, dimensions_of, sizes_in_words, weights_of


@pytest.mark.parametrize("given", [{}, {"layers": 2, "width": 24, "heads": 3, "feedforward": 7}])
def test_the_weights_are_those_of_the_model(given):
    model = Seq2Seq(50, size="tiny", **given)

    assert weights_of(dimensions_of("tiny", given), 50) == model.count_params()


def test_what_is_given_takes_the_place_of_what_the_size_says():
    assert dimensions_of("small", {"width": 64, "heads": None, "seed": 3}) == {
        **SIZES["small"],
        "width": 64,
    }


def test_sizes_in_words_name_what_they_cost():
    assert sizes_in_words(8000).startswith("tiny (4 layers, width 128, 2.")
    assert sizes_in_words(8000).endswith(" M weights)")
