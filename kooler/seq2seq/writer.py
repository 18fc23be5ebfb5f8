"""Text in, titles out: a model together with its tokenizer.

writer = Writer.load("run")
writer.write(["The bakery in Toro closes."])[0][0].text
"""

import os
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any, NamedTuple

from kooler.seq2seq.casing import with_capitals
from kooler.seq2seq.generation import generate
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.recipe import build_model
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.shipped import SHIPPED
from kooler.seq2seq.tokenizer import Tokenizer
from kooler.seq2seq.weights import assign, named_weights


class Title(NamedTuple):
    """What was written for a text.

    Attributes:
        text: The title.
        score: Its length-normalised log-probability, by which titles are ranked.
        log_prob: Its log-probability.
        order: The order that wrote it.
    """

    text: str
    score: float
    log_prob: float
    order: str

    def facts(self) -> dict[str, Any]:
        """What JSON tells beside the text; it knows no infinity, so that is None."""
        numbers = {"score": self.score, "log_prob": self.log_prob}
        known = {name: value if isfinite(value) else None for name, value in numbers.items()}
        return {**known, "order": self.order}


class Writer:
    """Writes titles for texts.

    Args:
        model: A trained model.
        tokenizer: The tokenizer that it was trained with.
        source_length: Tokens of a text that the model sees; what follows is cut.

    Attributes:
        cut: Number of texts so far that were longer.
    """

    def __init__(self, model: Seq2Seq, tokenizer: Tokenizer, source_length: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.source_length = source_length
        self.cut = 0

    @classmethod
    def load(cls, run_directory: str | os.PathLike[str] = SHIPPED) -> "Writer":
        """Loads the model of a run; nothing of it is executed.

        Args:
            run_directory: The run; by default the model that comes with kooler.

        Raises:
            ValueError: If it is no run directory, has no weights yet, or is damaged.
        """
        run = RunDirectory(run_directory)
        settings = run.settings()
        arrays, _ = run.weights()
        tokenizer = run.tokenizer()
        model = build_model(settings, tokenizer.size)
        try:
            assign(named_weights(model), arrays)
        except ValueError as error:
            raise ValueError(f"`{run.weights_path}` does not fit: {error}") from None
        return cls(model, tokenizer, settings.source_length)

    def write(
        self, texts: Sequence[str], *, order: str = "best", n_best: int = 1, **options: Any
    ) -> list[list[Title]]:
        """Writes titles.

        Args:
            texts: Any texts; an empty one gets an empty title.
            order: "l2r", "r2l", "mid" or "best".
            n_best: Most titles a text.
            options: More of what `generate` takes: `beam_size`, `length_penalty`, …

        Returns:
            The titles of each text, best first.
        """
        rows = self._encoded(texts)
        filled = [index for index, row in enumerate(rows) if row]
        titles = [[Title("", 0.0, 0.0, order)] for _ in rows]
        if filled:
            sources = [rows[index] for index in filled]
            found = generate(self.model, sources, order=order, n_best=n_best, **options)
            for place, index in enumerate(filled):
                facts = (part[place].tolist() for part in found)
                titles[index] = self._titles(texts[index], *facts)
        return titles

    def encode(self, text: str) -> list[int]:
        """The ids of a text, as far as the model sees it."""
        return self.tokenizer.encode(text)[: self.source_length]

    def decode(self, ids: Iterable[int], text: str) -> str:
        """The title that some ids are, for a text: where the model reads small letters, it gets the
        capitals of the text."""
        title = self.tokenizer.decode(ids)
        return with_capitals(title, text) if self.tokenizer.lower_case else title

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self.tokenizer.encode_batch(texts)
        self.cut += sum(len(row) > self.source_length for row in rows)
        return [row[: self.source_length] for row in rows]

    def _titles(
        self,
        text: str,
        ids: list[list[int]],
        scores: list[float],
        log_probs: list[float],
        orders: list[str],
    ) -> list[Title]:
        """The titles that `generate` found for one text; it may find fewer than asked for."""
        found = zip(ids, scores, log_probs, orders, strict=True)
        titles = [
            Title(self.decode(row, text), score, log_prob, order)
            for row, score, log_prob, order in found
            if order
        ]
        return titles or [Title("", float("-inf"), float("-inf"), "")]
