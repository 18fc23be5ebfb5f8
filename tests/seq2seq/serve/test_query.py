"""Bodies of requests: what is right becomes a query, what is wrong is refused by its name."""

import json

import hypothesis
import pytest
from hypothesis import strategies

from kooler.seq2seq.serve.limits import Limits, Refusal
from kooler.seq2seq.serve.query import Query, offer_of, parse

LIMITS = Limits(beam_sizes=(5, 1), texts=3, characters=20)
OFFER = offer_of(("l2r", "mid"), 12, LIMITS)


def refused(body, *, streamed=False):
    """The field and the message with which a body is refused."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(Refusal) as raised:
        parse(content, OFFER, streamed=streamed)
    assert raised.value.status == 422
    return raised.value.field, raised.value.message


def test_a_text_is_enough():
    assert parse(b'{"text": " one "}', OFFER) == Query(["one"], "best", 5, 1, 12)


def test_everything_can_be_asked_for():
    body = {"texts": ["a", ""], "order": "mid", "beam_size": 1, "n_best": 1, "max_length": 3}

    assert parse(json.dumps(body).encode(), OFFER) == Query(["a", ""], "mid", 1, 1, 3)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"", None, "the body is no JSON: Expecting value"),
        (b"\xff", None, "the body is no JSON: 'utf-8' codec can't decode"),
        (b"[" * 100_000, None, "the body is no JSON: maximum recursion depth"),
        ([], None, 'the body must be an object, {"text": "…"}, not a list.'),
        ({}, "text", "`text` or `texts` is missing."),
        ({"text": None}, "text", "`text` must be a string, not null."),
        ({"texts": "a"}, "texts", "`texts` must be a list of strings, not a string."),
        ({"texts": []}, "texts", "`texts` must hold 1 to 3 texts, received 0."),
        ({"texts": ["a"] * 4}, "texts", "`texts` must hold 1 to 3 texts, received 4."),
        ({"texts": ["a", 1]}, "texts[1]", "`texts[1]` must be a string, not a number."),
        ({"text": "a", "texts": ["a"]}, "text", "give either `text` or `texts`, not both."),
        ({"text": "a" * 21}, "text", "`text` must have at most 20 characters, received 21."),
        ({"text": "\ud800"}, "text", "`text`: U+D800 is half a surrogate pair, not a character."),
        ({"text": "\0"}, "text", "`text`: a NUL character"),
        ({"text": "a", "order": "r2l"}, "order", "`order` must be one of l2r, mid, best, received"),
        ({"text": "a", "order": ["mid"]}, "order", "`order` must be one of l2r, mid, best, recei"),
        ({"text": "a", "beam_size": 3}, "beam_size", "`beam_size` must be one of 5, 1, received 3"),
        (
            {"text": "a", "beam_size": True},
            "beam_size",
            "`beam_size` must be a whole number from 1",
        ),
        ({"text": "a", "beam_size": 5.5}, "beam_size", "`beam_size` must be a whole number from 1"),
        ({"text": "a", "n_best": 6}, "n_best", "`n_best` must be a whole number from 1 to 5, rece"),
        (
            {"text": "a", "beam_size": 1, "n_best": 2},
            "n_best",
            "`n_best` must be a whole number from 1 to 1, received 2.",
        ),
        ({"text": "a", "max_length": 13}, "max_length", "`max_length` must be a whole number from"),
        ({"text": "a", "max_length": "9" * 99}, "max_length", "`max_length` must be a whole numbe"),
        (
            {"text": "a", "beem": 1},
            "beem",
            'unknown field "beem"; the nearest known one is `beam_s',
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_named(body, field, message):
    found, text = refused(body)

    assert (found, text[: len(message)]) == (field, message)


def test_only_one_text_can_be_streamed():
    assert refused({"texts": ["a"]}, streamed=True)[1].startswith('unknown field "texts"; the near')
    assert refused({}, streamed=True) == ("text", "`text` is missing.")
    assert parse(b'{"text": "a"}', OFFER, streamed=True).texts == ["a"]


json_values = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-3, 15)
    | strategies.floats()
    | strategies.sampled_from(["mid", "best", "a", "\ud800", ""]),
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(strategies.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = strategies.sampled_from(["text", "texts", "order", "beam_size", "n_best", "max_length"])


@hypothesis.settings(max_examples=40)
@hypothesis.given(strategies.dictionaries(fields | strategies.text(max_size=5), json_values))
def test_any_object_is_a_query_within_the_offer_or_refused(body):
    try:
        query = parse(json.dumps(body).encode(), OFFER)
    except Refusal as refusal:
        assert refusal.status == 422
        refusal.message.encode()  # can be sent
        return
    assert 1 <= len(query.texts) <= LIMITS.texts
    assert query.order in OFFER.orders
    assert query.beam_size in LIMITS.beam_sizes
    assert 1 <= query.n_best <= query.beam_size
    assert 1 <= query.max_length <= OFFER.max_length


@hypothesis.given(strategies.binary(max_size=40))
def test_any_bytes_are_a_query_or_refused(body):
    try:
        parse(body, OFFER)
    except Refusal as refusal:
        assert refusal.status == 422


def test_a_whole_number_may_have_a_point_as_in_json_schema():
    query = parse(b'{"text": "a", "beam_size": 1.0, "max_length": 1e1}', OFFER)

    assert (query.beam_size, query.max_length) == (1, 10)
