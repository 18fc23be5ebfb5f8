"""A look inside, while the model writes one title: where it looks, how sure it is, step by step.

The title is put through the model as in training (teacher forced), in one generation order, and the
attention and the probabilities are read off.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from kooler.core.compiled import compiled
from kooler.core.types import Tensor
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.order import ORDERS, layout, sentence_of, tokens_per_step
from kooler.seq2seq.report_data import Attention, Growth, GrowthStep, WrittenToken
from kooler.seq2seq.report_words import say
from kooler.seq2seq.reserved_ids import EOS, PAD
from kooler.seq2seq.shapes import cached, rounded
from kooler.seq2seq.writer import Writer


class Stream(NamedTuple):
    """A title as the model writes it.

    Attributes:
        ids: int [n + 1], the tokens in the order in which they are written, then EOS.
        probabilities: float [n + 1], of each when it was written.
        attention: float [n + 1, source], where the last decoder layer looked, mean of its heads.
        back: float [n + 1, n + 1], where it looked among what it has read of the title itself: the
            start tags, then the tokens as they were written.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    attention: np.ndarray
    back: np.ndarray


def look_inside(writer: Writer, source: list[int], target: list[int], order: str) -> Stream:
    """Puts a title through the model.

    Args:
        writer: The model and its tokenizer.
        source: Ids of the text.
        target: Ids of the title.
        order: The generation order.
    """
    function = cached(writer.model, "inside", lambda: _inside_function(writer.model))
    number = np.array([[ORDERS.index(order)]], "int32")
    found = function(_padded(source)[None], _padded(target)[None, None], number)
    ids, probabilities, attention, back = (ops.convert_to_numpy(part) for part in found)
    end = len(target) + 1
    looks = attention[:end, : len(source)]
    return Stream(ids[:end], probabilities[:end], looks, back[:end, : end + end % 2])


def attention_of(writer: Writer, text: str, title: str, order: str) -> Attention:
    """Where the model looks in a text while it writes a title, in the order of reading."""
    source, target = writer.encode(text), writer.tokenizer.encode(title)
    stream = look_inside(writer, source, target, order)
    reading = sentence_of(np.arange(len(target)), order)
    weights = np.clip(stream.attention[reading], 0.0, 1.0)
    return Attention(
        source_tokens=_labels(writer, source),
        title_tokens=_labels(writer, [int(stream.ids[slot]) for slot in reading]),
        weights=weights.tolist(),
        note=say("last layer, mean of its heads, {order}", order=order),
    )


def between_of(writer: Writer, text: str, title: str) -> tuple[Attention, tuple[float, float]]:
    """Where a title that is written from both ends looks in itself.

    Returns:
        The attention of each token, in the order of reading, to the start tags and to the tokens
        that were written before it; and which share of its attention to such tokens each end, left
        and right, gives to those of the other end.
    """
    source, target = writer.encode(text), writer.tokenizer.encode(title)
    stream = look_inside(writer, source, target, "mid")
    slots = np.arange(len(target))
    reading = sentence_of(slots, "mid")
    labels = _labels(writer, stream.ids[: len(target)].tolist())
    tags, seen = ["⟨left⟩", "⟨right⟩"], stream.back.shape[1] - 2
    columns = [slot for slot in reading if slot < seen]
    weights = np.clip(stream.back[reading], 0.0, 1.0)
    attention = Attention(
        source_tokens=[*tags, *(labels[slot] for slot in columns)],
        title_tokens=[labels[slot] for slot in reading],
        weights=weights[:, [0, 1, *(slot + 2 for slot in columns)]].tolist(),
        note=say("last layer, mean of its heads, {order}", order="mid"),
    )
    back, sides = stream.back[: len(target), 2:], np.arange(seen) % 2
    return attention, (_crossing(back[0::2], sides == 1), _crossing(back[1::2], sides == 0))


def _crossing(weights: np.ndarray, other: np.ndarray) -> float:
    """The share of weights [slots, tokens] on tokens of the other end; 0 without weights."""
    return float(weights[:, other].sum() / max(weights.sum(), 1e-9))


def growth_of(writer: Writer, text: str, title: str, order: str = "mid") -> Growth:
    """The steps in which a title grows."""
    source, target = writer.encode(text), writer.tokenizer.encode(title)
    stream = look_inside(writer, source, target, order)
    width = tokens_per_step(order)
    tokens = [
        WrittenToken("" if ends else label, min(float(probability), 1.0), ends)
        for label, probability, ends in zip(
            _labels(writer, stream.ids.tolist()),
            stream.probabilities,
            stream.ids == EOS,
            strict=True,
        )
    ]
    steps = [
        GrowthStep(left=tokens[first : first + 1], right=tokens[first + 1 : first + width])
        for first in range(0, len(tokens), width)
    ]
    return Growth(text, title, steps)


def _inside_function(model: Seq2Seq) -> Callable[..., Any]:
    """One title in the order of a number, compiled once for all orders."""

    def function(source: Tensor, target: Tensor, order: Tensor) -> Any:
        streams = layout(target, order)
        memory = model.encode(source)
        logits, attention = model.decode(streams, memory)
        probabilities = ops.softmax(ops.cast(logits, "float32"), axis=-1)
        chosen = ops.take_along_axis(probabilities, streams.targets[..., None], axis=-1)
        looks = ops.mean(ops.cast(attention[-1], "float32"), axis=1)
        back = model.looks_back(streams, memory)[-1]
        back = ops.mean(ops.cast(back, "float32"), axis=1)
        return streams.targets[0, 0], chosen[0, 0, :, 0], looks[0], back[0]

    return compiled(function, model.variables)


def _padded(ids: list[int]) -> np.ndarray:
    """int32 ids in one of few lengths."""
    row = np.full(rounded(len(ids)), PAD, "int32")
    row[: len(ids)] = ids
    return row


def _labels(writer: Writer, ids: list[int]) -> list[str]:
    """Tokens as they read, with the space before them where they have one."""
    return [_label(name) for name in writer.tokenizer.pieces(ids)]


def _label(name: str) -> str:
    """A piece of text; the one byte of a plain character as that character, others as numbers."""
    if name.startswith("<0x"):
        byte = int(name[3:5], 16)
        return chr(byte) if 32 <= byte < 127 else name
    return name.replace("▁", " ")
