"""Titles in few fixed shapes: a server that compiles while somebody waits has stopped.

JAX and TensorFlow compile a search for each shape of its arguments and for each of its rules, for
seconds; on PyTorch its steps are recorded (`core/replay.py`).  So there are two numbers of rows,
one and `rows`, and two lengths of sources, a quarter of what the model sees and all of it; texts
are padded to the next of them.  The beam sizes are those that the server was started with, and the
length limit is an argument.  `warm_up` runs every combination once.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kooler.core.replay import recorded_at_once
from kooler.seq2seq.course import Course
from kooler.seq2seq.generation import Hypothesis, hypotheses, judged, ranked
from kooler.seq2seq.reading import read
from kooler.seq2seq.reserved_ids import PAD, RESERVED
from kooler.seq2seq.rules import Rules, check_ranking
from kooler.seq2seq.shapes import rounded
from kooler.seq2seq.watching import Moment, course_of_both, watch, watch_both
from kooler.seq2seq.writer import Title, Writer


class ShapedWriter:
    """Writes titles without compiling anything after its warm-up.

    Args:
        writer: The model and its tokenizer.
        rows: Most texts of a call.
        beam_sizes: What a call may choose from.
        rank_by: Which candidates come first, as `generate` takes it.
    """

    def __init__(
        self, writer: Writer, rows: int, beam_sizes: Sequence[int], rank_by: str = "score"
    ) -> None:
        check_ranking(rank_by)
        self.rank_by = rank_by
        self.writer = writer
        self.beam_sizes = tuple(beam_sizes)
        self.rows = tuple(sorted({1, rows}))
        longest = rounded(writer.source_length)
        self.lengths = tuple(sorted({rounded(longest // 4), longest}))
        self.orders = writer.model.orders
        self.max_length = writer.model.max_length

    def write(
        self, texts: Sequence[str], order: str, beam_size: int, max_length: int
    ) -> list[list[Title]]:
        """The titles of each text, best first, as many as its beam found."""
        ids = [self.writer.encode(text) for text in texts]
        rules = Rules(beam_size, self.max_length)
        found = self._found(self._batch(ids), order, rules, max_length)
        return [
            self._titles(text, best) if row else [Title("", 0.0, 0.0, order)]
            for text, row, best in zip(texts, ids, found, strict=False)
        ]

    def grow(
        self, text: str, order: str, beam_size: int, max_length: int
    ) -> Iterator[dict[str, Any] | list[Title]]:
        """The beam after each step, for "best" of one order after the other; the titles at last."""
        ids = self.writer.encode(text)
        if not ids:
            yield [Title("", 0.0, 0.0, order)]
            return
        model, source = self.writer.model, self._batch([ids])
        rules, proposals = Rules(beam_size, self.max_length), []
        if order == "best" and model.writes_together:
            yield from self._grow_both(text, source, rules, max_length)
            return
        sources = read(model, source)
        for name in self.orders if order == "best" else (order,):
            for moment in watch(model, sources, name, rules, limit=max_length):
                yield self._shown(moment)
            proposals.append([moment.finished])
        if order == "best":
            proposals[0] = judged(model, sources, proposals, rules, self.max_length)
        yield self._titles(text, proposals[0][0])

    def _grow_both(
        self, text: str, source: np.ndarray, rules: Rules, max_length: int
    ) -> Iterator[dict[str, Any] | list[Title]]:
        """The beam from the left while it is searched for, then the one from the right."""
        right: list[Moment] = []
        for moments in watch_both(self.writer.model, source, rules, limit=max_length):
            yield self._shown(moments[0])
            right.append(moments[1])
        yield from map(self._shown, right)
        found = [*moments[0].finished, *moments[1].finished]
        yield self._titles(text, sorted(found, key=lambda one: one.score, reverse=True))

    def is_cut(self, text: str) -> bool:
        """Whether the model sees only the beginning of a text."""
        return len(self.writer.tokenizer.encode(text)) > self.writer.source_length

    def warm_up(self) -> Iterator[None]:
        """Runs every shape once, with texts of one token; comes back after each."""
        model = self.writer.model
        for beam_size in self.beam_sizes:
            rules = Rules(beam_size, self.max_length)
            for length, rows in itertools.product(self.lengths, self.rows):
                batch = np.full((rows, length), PAD, "int32")
                batch[:, 0] = RESERVED
                with recorded_at_once():
                    for order in ("best", *self.orders) if model.writes_together else ("best",):
                        self._found(batch, order, rules, limit=1)
                yield
            for length, order in itertools.product(self.lengths, self.orders):
                batch = np.full((1, length), PAD, "int32")
                batch[:, 0] = RESERVED
                with recorded_at_once():
                    Course(model, order, rules, read(model, batch)).prepare()
                    if order == self.orders[0] and model.writes_together:
                        course_of_both(model, batch, rules).prepare()
                yield

    def _found(
        self, batch: np.ndarray, order: str, rules: Rules, limit: int
    ) -> list[list[Hypothesis]]:
        """The hypotheses of a batch, by functions that "best" and single orders share."""
        model = self.writer.model
        together = order == "best" and model.writes_together
        return hypotheses(
            model, batch if together else read(model, batch), order, rules, limit=limit
        )

    def _batch(self, ids: list[list[int]]) -> np.ndarray:
        """int32 [rows, length], both of the fixed sizes."""
        rows = next(count for count in self.rows if count >= len(ids))
        longest = max(map(len, ids))
        batch = np.full((rows, next(n for n in self.lengths if n >= longest)), PAD, "int32")
        for row, source in enumerate(ids):
            batch[row, : len(source)] = source
        return batch

    def _titles(self, text: str, found: Sequence[Hypothesis]) -> list[Title]:
        decode = self.writer.decode
        ordered = ranked(list(found), self.rank_by)
        return [Title(decode(one.ids, text), one.score, one.log_prob, one.order) for one in ordered]

    def _shown(self, moment: Moment) -> dict[str, Any]:
        decode = self.writer.tokenizer.decode
        return {
            "order": moment.order,
            "step": moment.step,
            "open": [
                {"left": decode(left), "right": decode(right), "log_prob": log_prob}
                for left, right, log_prob in moment.open
            ],
            "finished": [
                {"title": decode(found.ids), "log_prob": found.log_prob}
                for found in moment.finished
            ],
        }
