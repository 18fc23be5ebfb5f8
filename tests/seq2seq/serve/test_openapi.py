"""The description says what the server does: with hypothesis's bodies by its schemas, and against
them."""

import json

import hypothesis
import pytest
from hypothesis import strategies

from kooler.seq2seq.serve.limits import Limits, Refusal
from kooler.seq2seq.serve.openapi import documentation, openapi
from kooler.seq2seq.serve.query import offer_of, parse

LIMITS = Limits(beam_sizes=(2, 1), texts=2, characters=9)
OFFER = offer_of(("l2r", "mid"), 12, LIMITS)
SCHEMAS = openapi(OFFER)["components"]["schemas"]


def values_of(schema):
    """Values that a schema allows."""
    if "enum" in schema:
        return strategies.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return strategies.integers(schema["minimum"], schema["maximum"])
    if schema["type"] == "array":
        items = values_of(schema["items"])
        return strategies.lists(items, min_size=schema["minItems"], max_size=schema["maxItems"])
    letters = strategies.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return strategies.text(letters, max_size=schema["maxLength"])


def bodies_of(name, text):
    properties = SCHEMAS[name]["properties"]
    options = {
        field: values_of(schema) for field, schema in properties.items() if field[:4] != "text"
    }
    return strategies.fixed_dictionaries({text: values_of(properties[text])}, optional=options)


@pytest.mark.parametrize(
    ("name", "text"), [("Request", "text"), ("Request", "texts"), ("StreamRequest", "text")]
)
@hypothesis.settings(max_examples=30)
@hypothesis.given(data=strategies.data())
def test_what_is_described_is_accepted(name, text, data):
    body = data.draw(bodies_of(name, text))
    hypothesis.assume(body.get("n_best", 1) <= body.get("beam_size", 2))

    query = parse(json.dumps(body).encode(), OFFER, streamed=name == "StreamRequest")

    assert query.texts == [t.strip() for t in ([body["text"]] if text == "text" else body["texts"])]


@hypothesis.settings(max_examples=30)
@hypothesis.given(data=strategies.data())
def test_what_the_description_forbids_is_refused(data):
    body = data.draw(bodies_of("Request", "text"))
    field = data.draw(strategies.sampled_from(sorted(SCHEMAS["Request"]["properties"])))
    wrong = data.draw(strategies.sampled_from([None, True, 0, 99, -1, 1.5, "x" * 10, [], [1], {}]))

    with pytest.raises(Refusal):
        parse(json.dumps({**body, field: wrong}).encode(), OFFER)


def test_every_reference_leads_somewhere():
    text = json.dumps(openapi(OFFER))

    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(SCHEMAS)
    assert set(SCHEMAS) - names == {"Title", "Result"} - names


def test_no_more_titles_than_beams_may_be_asked_for():
    rules = SCHEMAS["StreamRequest"]["allOf"]
    most = [(rule["if"], rule["then"]["properties"]["n_best"]["maximum"]) for rule in rules]

    chosen = {"properties": {"beam_size": {"const": 1}}, "required": ["beam_size"]}
    assert [most for condition, most in most if condition == chosen] == [1]
    assert most[-1] == ({"not": {"required": ["beam_size"]}}, 2)


def test_the_page_names_every_path_and_status():
    description = openapi(OFFER)

    page = documentation(description)

    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert f"<code>{method.upper()} {path}</code>" in page
            assert all(f"<td>{status}</td>" in page for status in operation["responses"])
    assert "{" + "sections}" not in page
