"""A writer without a model: its titles are its texts in capitals, slow or broken as wanted."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from kooler.seq2seq.writer import Title

BROKEN = "break"


class FakeWriter:
    """Does what `ShapedWriter` does, and remembers the batches."""

    orders = ("l2r", "r2l", "mid")
    max_length = 12

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.batches: list[list[str]] = []

    def warm_up(self) -> Iterator[None]:
        yield

    def write(
        self, texts: Sequence[str], order: str, beam_size: int, max_length: int
    ) -> list[list[Title]]:
        self.batches.append(list(texts))
        time.sleep(self.seconds)
        if BROKEN in texts:
            raise RuntimeError("the model broke")
        return [[self._title(text, order, rank) for rank in range(beam_size)] for text in texts]

    def grow(
        self, text: str, order: str, beam_size: int, max_length: int
    ) -> Iterator[dict[str, Any] | list[Title]]:
        for step in range(1, len(text) + 1):
            time.sleep(self.seconds)
            if text == BROKEN and step == 2:
                raise RuntimeError("the model broke")
            half = {"left": text[:step].upper(), "right": "", "log_prob": -step / 2}
            yield {"order": order, "step": step, "open": [half], "finished": []}
        yield [self._title(text, order, rank) for rank in range(beam_size)]

    def is_cut(self, text: str) -> bool:
        return len(text) > 100

    def _title(self, text: str, order: str, rank: int) -> Title:
        return Title(text.upper(), -1.0 - rank, -2.0 - rank, order)
