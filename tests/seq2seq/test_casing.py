import pytest
from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq.casing import with_capitals


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [
        ("pruning bert on gpus", "We prune BERT. GPUs run it, GPUs wait.", "Pruning BERT on GPUs"),
        ("we read", "We read. We write.", "We read"),  # the first word of a sentence tells nothing
        ("how we read", "We read. We write.", "How we read"),
        ("gpt-2 for all", "It is GPT-2.", "GPT-2 for all"),
        ("xgboost", "XGBoost is a method", "XGBoost"),  # a capital inside tells, even at the start
        ("the web", "the Web, the web, the Web", "The Web"),  # the more frequent form
        ("cnns and rnns", "CNNs", "CNNs and rnns"),  # not in the text
        ("", "A text", ""),
        ("42 ways", "Ways", "42 ways"),
        ("ßharp", "", "ßharp"),  # its capital is two letters
    ],
)
def test_capitals(title, text, expected):
    assert with_capitals(title, text) == expected


@given(st.text("aAbB .-ßİ2"), st.text("aAbB .-ßİ2"))
def test_only_capitals_change(title, text):
    assert with_capitals(title.lower(), text).lower() == title.lower()
