"""Settings: valid when they exist, equal after JSON, firm about what a resumed run may change."""

import json
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kooler.seq2seq.settings import SMALLEST_VOCABULARY, Settings
from kooler.seq2seq.tokenizer import Tokenizer

LSTMS = {"architecture": "recurrent"}


def test_json_round_trip_is_equal():
    settings = Settings(width=96, heads=3, orders=("mid",), minutes=2.5, copy_prior=True)

    text = json.dumps(settings.to_dict())

    assert Settings.from_dict(json.loads(text)) == settings
    assert json.loads(text)["orders"] == ["mid"]


@given(
    learning_rate=st.floats(1e-9, 10),
    updates=st.integers(1, 10**9),
    orders=st.permutations(["l2r", "r2l", "mid"]),
    clipnorm=st.none() | st.floats(0, 1e6),
)
def test_json_round_trip_is_equal_for_all_values(learning_rate, updates, orders, clipnorm):
    settings = Settings(
        learning_rate=learning_rate, updates=updates, orders=tuple(orders), clipnorm=clipnorm
    )

    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_every_field_has_a_help_text_that_ends_like_a_sentence():
    assert all(entry.metadata["help"].endswith(".") for entry in fields(Settings))


def test_what_json_and_the_command_line_write_differently_is_converted():
    settings = Settings(orders="l2r, mid", learning_rate=1)

    assert settings.orders == ("l2r", "mid")
    assert type(settings.learning_rate) is float


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("size", "huge", "one of tiny, small, base, received size=huge. Its default is tiny."),
        ("layers", 0, "at least 1, received layers=0. Its default is None."),
        ("layers", True, "a whole number, received layers=True"),
        ("learning_rate", 0.0, "above 0, received learning_rate=0.0. Its default is 0.001."),
        ("learning_rate", float("nan"), "above 0, received learning_rate=nan"),
        ("learning_rate", float("inf"), "above 0, received learning_rate=inf"),
        ("learning_rate", "fast", "a number, received learning_rate=fast"),
        ("dropout", 1.0, "at least 0 and below 1, received dropout=1.0"),
        ("orders", "l2r,l2r", "a choice of l2r, r2l, mid, each once, separated by commas"),
        ("orders", "", "received orders=. Its default is l2r,r2l,mid."),
        ("orders", 3, "a list of texts, received orders=3"),
        ("updates", 1.5, "a whole number, received updates=1.5. Its default is 10000."),
        ("copy_prior", 1, "true or false, received copy_prior=1. Its default is False."),
        ("vocabulary_size", 15, "at least 263 with tokenizer=bpe, received vocabulary_size=15"),
        ("precision", "float16", "one of float32, mixed_bfloat16, received precision=float16"),
    ],
)
def test_a_wrong_value_is_an_error_with_rule_and_default(name, value, rule):
    with pytest.raises(ValueError, match="must be") as error:
        Settings(**{name: value})

    assert str(error.value).startswith(f"`{name}` must be ")
    assert rule in str(error.value)


def test_values_that_do_not_go_together():
    with pytest.raises(ValueError, match="`warmup` must be below `updates` with schedule=cosine"):
        Settings(schedule="cosine", updates=10, warmup=10)
    with pytest.raises(ValueError, match="`heads` must divide `width`, received heads=3, width=8"):
        Settings(width=8, heads=3)


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ({"heads": 3}, r"heads=3, width=128 .size=tiny sets what is not given.\. Choose a width"),
        ({"width": 33}, "heads=4, width=33 .size=tiny"),
        ({"size": "base", "width": 100}, "heads=8, width=100 .size=base"),
    ],
)
def test_a_dimension_must_go_with_those_of_the_size(given, received):
    with pytest.raises(ValueError, match=f"`heads` must divide `width`, received {received}"):
        Settings(**given)


@pytest.mark.parametrize("kind", SMALLEST_VOCABULARY)
def test_a_vocabulary_has_room_for_more_than_what_every_vocabulary_has(kind):
    smallest = SMALLEST_VOCABULARY[kind]
    assert Tokenizer.train(["a a b"], smallest, kind).size == smallest

    with pytest.raises(ValueError, match="`size` must be at least"):
        Tokenizer.train(["a a b"], smallest - 1, kind)
    with pytest.raises(ValueError, match=f"must be at least {smallest} with tokenizer={kind}, rec"):
        Settings(tokenizer=kind, vocabulary_size=smallest - 1)


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(ValueError, match=r"unknown setting `learningrate`.* is `learning_rate`"):
        Settings.from_dict({"learningrate": 1e-3})


def test_a_resumed_run_may_train_longer_but_not_differently():
    settings = Settings(updates=100)

    assert settings.resumed_with({"updates": 200, "width": None}).updates == 200
    with pytest.raises(
        ValueError,
        match=r"`dropout` was 0.1 when the run started, received dropout=0.2, and cannot",
    ):
        settings.resumed_with({"dropout": 0.2})


def test_the_end_of_a_cosine_cannot_move():
    settings = Settings(schedule="cosine", updates=2000)

    with pytest.raises(ValueError, match="`updates` was 2000 when the run started"):
        settings.resumed_with({"updates": 3000})


def test_two_streams_have_two_orders():
    assert Settings(architecture="synchronous").orders == ("l2r", "r2l")
    assert Settings(architecture="recurrent").orders == ("l2r", "r2l")
    assert Settings(architecture="recurrent", orders="r2l").orders == ("r2l",)
    assert Settings(architecture="synchronous", orders="l2r,r2l").orders == ("l2r", "r2l")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "synchronous", "orders": "mid"}, "must be l2r,r2l .* orders=mid. Leave"),
        (
            {"leaky": True},
            "`leaky` needs architecture=synchronous or recurrent, .* architecture=tr",
        ),
        (
            LSTMS | {"orders": "l2r,mid"},
            "must be of l2r, r2l .* orders=l2r,mid. .* architecture=tr",
        ),
        (LSTMS | {"orders": "r2l", "leaky": True}, "`leaky` needs both .* orders=r2l, order_sam"),
        (LSTMS | {"order_sampling": "one", "leaky": True}, "order_sampling=one. Leave both out"),
        (LSTMS | {"norm": "pre"}, "`norm` and `feedforward` are of the Transformer, .* norm=pre"),
        (LSTMS | {"feedforward": 9}, "received norm=post, feedforward=9 with architecture=recur"),
        (LSTMS | {"width": 9, "heads": 3}, "`width` must be even with .* received width=9"),
        ({"r_drop": 5.0, "dropout": 0.0}, "`r_drop` compares two passes .* dropout=0.0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Settings(**values)
