"""A line or row with names: the texts in it that are asked for, each a string that is one."""

import json
from collections.abc import Mapping, Sequence

from kooler.seq2seq.corpus_errors import BadLine
from kooler.seq2seq.lines import checked_text, line_text


def json_record(line: bytes) -> Mapping[str, object]:
    """The JSON object on a line.

    Raises:
        BadLine: If there is none.
    """
    record = _json(line_text(line))
    if not isinstance(record, dict):
        raise BadLine(f"expected a JSON object, found {_kind(record)}")
    return record


def texts_of(record: Mapping[str, object], names: Sequence[str]) -> list[str]:
    """The texts with these names.

    Raises:
        BadLine: If one is missing, is no string, or cannot be written.
    """
    texts = []
    for name in names:
        if name not in record:
            raise BadLine(f'the field "{name}" is missing')
        value = record[name]
        if not isinstance(value, str):
            raise BadLine(f'the field "{name}" is {_kind(value)}, not a string')
        texts.append(checked_text(value))
    return texts


def _json(text: str) -> object:
    if not text:
        raise BadLine("the line is empty")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        hint = (
            " (one object a line, no list around them)" if text.strip() in ("[", "{", "[{") else ""
        )
        raise BadLine(f"invalid JSON at column {error.colno}: {error.msg}{hint}") from None
    except (ValueError, RecursionError):
        raise BadLine("invalid JSON: a number is too long or the nesting too deep") from None


def _kind(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")
