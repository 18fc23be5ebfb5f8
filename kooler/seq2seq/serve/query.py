"""The body of a request: from bytes to texts and options, or to a refusal that names the field."""

import difflib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from kooler.seq2seq.corpus_errors import BadLine
from kooler.seq2seq.lines import checked_text
from kooler.seq2seq.serve.limits import Limits, Refusal


class Query(NamedTuple):
    """What a request asks for."""

    texts: list[str]
    order: str
    beam_size: int
    n_best: int
    max_length: int


class Offer(NamedTuple):
    """What a server can be asked for.

    Attributes:
        orders: The orders that the model learned, and "best" where they are several.
        max_length: The longest title in tokens.
        limits: Of the server.
    """

    orders: tuple[str, ...]
    max_length: int
    limits: Limits


def offer_of(orders: Sequence[str], max_length: int, limits: Limits) -> Offer:
    """What a server of a model with these orders offers."""
    return Offer((*orders, "best"), max_length, limits)


def parse(body: bytes, offer: Offer, *, streamed: bool = False) -> Query:
    """Reads a body.

    Args:
        body: JSON in UTF-8.
        offer: What may be asked for.
        streamed: Whether it must be one text, for a title that is shown while it grows.

    Raises:
        Refusal: 422, for whatever is not what `/openapi.json` describes.
    """
    record = _record(body)
    names = ["text", "order", "beam_size", "n_best", "max_length"]
    if not streamed:
        names.insert(1, "texts")
    for name in record:
        if name not in names:
            raise _unknown(name, names)
    texts = _texts(record, offer.limits, streamed)
    smallest, largest = offer.limits.beam_sizes[0], max(offer.limits.beam_sizes)
    beam_size = _whole(record, "beam_size", smallest, 1, largest)
    if beam_size not in offer.limits.beam_sizes:
        known = ", ".join(map(str, offer.limits.beam_sizes))
        raise Refusal(
            422,
            f"`beam_size` must be one of {known}, received {beam_size}. The server was started "
            "for these; `kooler serve --beam-sizes` names others.",
            "beam_size",
        )
    return Query(
        texts,
        _order(record, offer.orders),
        beam_size,
        _whole(record, "n_best", 1, 1, beam_size),
        _whole(record, "max_length", offer.max_length, 1, offer.max_length),
    )


def _record(body: bytes) -> dict[str, Any]:
    try:
        record = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"the body is no JSON: {error}.") from None
    if not isinstance(record, dict):
        raise Refusal(422, f'the body must be an object, {{"text": "…"}}, not {_kind(record)}.')
    return record


def _texts(record: dict[str, Any], limits: Limits, streamed: bool) -> list[str]:
    if streamed or "texts" not in record:
        if "text" not in record:
            wanted = "`text`" if streamed else "`text` or `texts`"
            raise Refusal(422, f"{wanted} is missing.", "text")
        return [_text(record["text"], "text", limits)]
    texts = record["texts"]
    if "text" in record:
        raise Refusal(422, "give either `text` or `texts`, not both.", "text")
    if not isinstance(texts, list):
        raise Refusal(422, f"`texts` must be a list of strings, not {_kind(texts)}.", "texts")
    if not 1 <= len(texts) <= limits.texts:
        raise Refusal(
            422, f"`texts` must hold 1 to {limits.texts} texts, received {len(texts)}.", "texts"
        )
    return [_text(text, f"texts[{place}]", limits) for place, text in enumerate(texts)]


def _text(value: Any, name: str, limits: Limits) -> str:
    if not isinstance(value, str):
        raise Refusal(422, f"`{name}` must be a string, not {_kind(value)}.", name)
    if len(value) > limits.characters:
        raise Refusal(
            422,
            f"`{name}` must have at most {limits.characters:,} characters, received "
            f"{len(value):,}. The model reads the beginning of a text only: send less of it.",
            name,
        )
    try:
        return checked_text(value).strip()
    except BadLine as bad:
        raise Refusal(422, f"`{name}`: {bad}.", name) from None


def _order(record: dict[str, Any], orders: Sequence[str]) -> str:
    order = record.get("order", "best")
    if order not in orders:
        known = ", ".join(orders)
        raise Refusal(422, f"`order` must be one of {known}, received {_shown(order)}.", "order")
    return str(order)


def _whole(record: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = record.get(name, default)
    if type(value) is float and value.is_integer():  # 5.0 is an integer to JSON Schema
        value = int(value)
    if type(value) is not int or not low <= value <= high:  # `True` is no number here
        raise Refusal(
            422,
            f"`{name}` must be a whole number from {low} to {high}, received {_shown(value)}.",
            name,
        )
    return value


def _unknown(name: str, names: Sequence[str]) -> Refusal:
    near = difflib.get_close_matches(name[:40], names, n=1, cutoff=0.0)
    return Refusal(
        422, f"unknown field {_shown(name)}; the nearest known one is `{near[0]}`.", name[:40]
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _shown(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    text = json.dumps(value)  # ASCII, so that half a surrogate pair can be shown
    return text if len(text) <= 40 else text[:39] + "…"
