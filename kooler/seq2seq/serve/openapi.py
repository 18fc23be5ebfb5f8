"""The API in OpenAPI 3.1, with the numbers of this server, and a page that shows it.

What is described here is what `query.py` checks; a test sends both what the description allows and
what it forbids.
"""

import html
import json
from collections.abc import Sequence
from typing import Any

from kooler import __version__
from kooler.seq2seq.serve.query import Offer

Schema = dict[str, Any]
NO_NUL = r"^[^\u0000]*$"


def openapi(offer: Offer) -> Schema:
    """The description of the API of a server.

    Args:
        offer: What it can be asked for.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kooler",
            "version": __version__,
            "description": "Titles for texts, written from the left, from the right, and from both "
            "ends.",
        },
        "paths": {
            "/generate": {"post": _generate()},
            "/stream": {"post": _stream()},
            "/health": {"get": _health()},
            "/metrics": {"get": _text("Numbers for Prometheus.", "text/plain")},
            "/openapi.json": {"get": _text("This description.", "application/json")},
        },
        "components": {"schemas": _schemas(offer)},
    }


def _generate() -> Schema:
    return {
        "summary": "Write titles.",
        "operationId": "generate",
        "requestBody": _json_body("Request"),
        "responses": {"200": _json("The titles.", "Answer"), **_refusals()},
    }


def _stream() -> Schema:
    return {
        "summary": "Write the titles of one text and tell every step.",
        "description": "Server-sent events: `step` for the beam after each step of each order, "
        "`titles` once at the end (an item of `results`), or `error` if the time is over.",
        "operationId": "stream",
        "requestBody": _json_body("StreamRequest"),
        "responses": {
            "200": {
                "description": "The events.",
                "content": {"text/event-stream": {"schema": _reference("Event")}},
            },
            **_refusals(),
        },
    }


def _health() -> Schema:
    return {
        "summary": "Whether titles are written now.",
        "operationId": "health",
        "responses": {
            "200": _json("Ready.", "Health"),
            "503": _json("Warming up, stopping, or broken.", "Health"),
        },
    }


def _refusals() -> Schema:
    reasons = {
        "400": "The request does not come from where the server is reached.",
        "408": "The body did not come in time.",
        "413": "The body is too large.",
        "415": "The body is not called application/json.",
        "422": "The body is not what is described here; `field` tells where.",
        "500": "The server made a mistake.",
        "503": "Too many texts are waiting, or the server is not ready; see Retry-After.",
        "504": "There was no answer in time.",
    }
    return {status: _json(reason, "Error") for status, reason in reasons.items()}


def _schemas(offer: Offer) -> Schema:
    limits = offer.limits
    text = {"type": "string", "maxLength": limits.characters, "pattern": NO_NUL}
    options = {
        "order": {
            "enum": list(offer.orders),
            "default": "best",
            "description": "The end to write from; best: the candidates of all orders, judged by "
            "all orders.",
        },
        "beam_size": {"enum": list(limits.beam_sizes), "default": limits.beam_sizes[0]},
        "n_best": {
            "type": "integer",
            "minimum": 1,
            "maximum": max(limits.beam_sizes),
            "default": 1,
            "description": "At most `beam_size`.",
        },
        "max_length": {
            "type": "integer",
            "minimum": 1,
            "maximum": offer.max_length,
            "default": offer.max_length,
            "description": "Longest title, in tokens.",
        },
    }
    texts = {"type": "array", "items": text, "minItems": 1, "maxItems": limits.texts}
    request = _object({"text": text, "texts": texts, **options})
    request["oneOf"] = [{"required": ["text"]}, {"required": ["texts"]}]
    single = {**_object({"text": text, **options}), "required": ["text"]}
    candidates = {"allOf": _most_titles(limits.beam_sizes)}
    event = {"event": {"enum": ["step", "titles", "error"]}, "data": {"type": "string"}}
    number = {"type": ["number", "null"]}
    title = {"text": {"type": "string"}, "log_prob": number, "score": number}
    return {
        "Request": {**request, **candidates},
        "StreamRequest": {**single, **candidates},
        "Event": _all(event),
        "Title": _all({**title, "order": {"enum": [*offer.orders, ""]}}),
        "Result": _all(
            {
                "titles": {"type": "array", "items": _reference("Title")},
                "cut": {
                    "type": "boolean",
                    "description": "Whether the model saw only the beginning of the text.",
                },
            }
        ),
        "Answer": _all({"results": {"type": "array", "items": _reference("Result")}}),
        "Health": _all({"status": {"type": "string"}}),
        "Error": _all({"error": {"type": "string"}, "field": {"type": ["string", "null"]}}),
    }


def _most_titles(beam_sizes: Sequence[int]) -> list[Schema]:
    """The rule n_best ≤ beam_size, for each beam size and for the default."""
    default = {"not": {"required": ["beam_size"]}}
    chosen = [
        ({"properties": {"beam_size": {"const": size}}, "required": ["beam_size"]}, size)
        for size in beam_sizes
    ]
    return [
        {"if": condition, "then": {"properties": {"n_best": {"maximum": size}}}}
        for condition, size in [*chosen, (default, beam_sizes[0])]
    ]


def _text(summary: str, media_type: str) -> Schema:
    content: Schema = {media_type: {"schema": {}}}
    return {"summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _json(description: str, schema: str) -> Schema:
    content = {"application/json": {"schema": _reference(schema)}}
    return {"description": description, "content": content}


def _json_body(schema: str) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": _reference(schema)}}}


def _reference(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _all(properties: Schema) -> Schema:
    return {**_object(properties), "required": list(properties)}


def documentation(description: Schema) -> str:
    """A page about the API; plain HTML, with nothing to load.

    Args:
        description: What `openapi` returned.
    """
    sections = "".join(
        _section(method, path, operation)
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    )
    schemas = html.escape(json.dumps(description["components"]["schemas"], indent=2))
    return _PAGE.format(sections=sections, schemas=schemas, example=html.escape(_EXAMPLE))


def _section(method: str, path: str, operation: Schema) -> str:
    answers = "".join(
        f"<tr><td>{status}</td><td>{html.escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<h2><code>{method.upper()} {path}</code></h2>"
        f"<p>{html.escape(operation['summary'])} {html.escape(operation.get('description', ''))}"
        f"</p><table><tr><th>status</th><th>meaning</th></tr>{answers}</table>"
    )


_EXAMPLE = """curl -H 'content-type: application/json' \\
     -d '{"texts": ["First text.", "Second text."], "order": "best", "n_best": 3}' \\
     http://127.0.0.1:8000/generate
curl -N -H 'content-type: application/json' \\
     -d '{"text": "First text.", "order": "mid"}' http://127.0.0.1:8000/stream"""
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>kooler: API</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto;
  padding: 0 1rem }}
pre {{ overflow-x: auto; padding: 1rem; border: 1px solid #8886; border-radius: 8px }}
td, th {{ text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top }}
</style></head><body>
<h1>The API of this server</h1>
<p>Titles for texts, as JSON. The whole description is <a href="openapi.json">openapi.json</a>;
<a href="./">the page for people</a> writes one title at a time.</p>
<pre>{example}</pre>
{sections}
<h2>What goes in and out</h2>
<pre>{schemas}</pre>
</body></html>
"""
