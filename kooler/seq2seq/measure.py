"""How good a run is: the titles of each order beside baselines, in one table."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kooler.seq2seq.baselines import TRAIN_LIMIT, baselines, sentences
from kooler.seq2seq.comparison import SCORES, ScoreRow, comparison_sentence
from kooler.seq2seq.corpora import decoded
from kooler.seq2seq.corpus import Pair, Report, read_pairs
from kooler.seq2seq.corpus_files import check_standard_input, keep_standard_input
from kooler.seq2seq.counted import counted
from kooler.seq2seq.evaluate import evaluate_titles
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.spool import Spool
from kooler.seq2seq.writer import Writer

HEADS = {"exact": "exact %", "first_tokens": "first 4", "last_tokens": "last 4"}


class Measured(NamedTuple):
    """What a run is worth.

    Attributes:
        pairs: The test set.
        rows: The scores of each order, then of each baseline.
        titles: For each order and baseline its titles, in the order of the pairs.
        notes: Sentences about lines that were left out, texts that were cut, and what the table
            cannot say.
    """

    pairs: list[Pair]
    rows: list[ScoreRow]
    titles: dict[str, list[str]]
    notes: list[str]


def measure(
    run_directory: str | os.PathLike[str],
    test_paths: Sequence[Path | str],
    orders: Sequence[str] = (),
    *,
    skip_bad_lines: bool = False,
    tokenize: str = "auto",
    join_subwords: bool = False,
    **options: Any,
) -> Measured:
    """Writes titles for a test set in each order, and scores them beside baselines.

    Args:
        run_directory: The run whose model writes.
        test_paths: Files of pairs; "-" is standard input.
        orders: The orders to measure; none means all that the model learned, and "best".
        skip_bad_lines: Whether bad lines are left out, and counted in the notes.
        tokenize: As `evaluate_titles` takes it.
        join_subwords: As `evaluate_titles` takes it.
        options: More of what `generate` takes: `beam_size`, `length_penalty`, …

    Raises:
        ValueError: If a file or the run is not usable, or the model did not learn an order.
    """
    report = Report()
    check_standard_input(test_paths)
    with tempfile.TemporaryDirectory() as folder:
        paths = keep_standard_input(test_paths, Path(folder))
        pairs = list(read_pairs(paths, skip_bad_lines=skip_bad_lines, report=report))
    writer = Writer.load(run_directory)
    sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
    written = _written(writer, sources, orders or (*writer.model.orders, "best"), options)
    rivals, missing = _rivals(RunDirectory(run_directory), writer, sources)

    as_read = writer.tokenizer.as_read
    wanted = [as_read(reference) for reference in references]

    def row(name: str, titles: list[str]) -> ScoreRow:
        read = [as_read(title) for title in titles]
        scores = evaluate_titles(read, wanted, tokenize=tokenize, join_subwords=join_subwords)
        return ScoreRow(name, "model" if name in written else "baseline", scores)

    titles = {**written, **rivals}
    return Measured(
        pairs,
        [row(*entry) for entry in titles.items()],
        titles,
        [*report.lines(), *_cut(writer, pairs), *_case(writer), *missing],
    )


def table(rows: Sequence[ScoreRow]) -> str:
    """The scores as lines of text, and below them how the model stands against the baselines.

    Args:
        rows: The scores.
    """
    heads = ["", *(HEADS.get(score, title) for score, title in SCORES.items())]
    cells = [[row.name, *(f"{getattr(row.scores, s):.1f}" for s in SCORES)] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [_line(line, widths) for line in (heads, *cells)]
    titles = counted(rows[0].scores.titles, "title")
    signature = f"{titles}; {rows[0].scores.bleu_signature}"
    return "\n".join([*lines, "", signature, comparison_sentence(rows)])


def _written(
    writer: Writer, sources: list[str], orders: Sequence[str], options: dict[str, Any]
) -> dict[str, list[str]]:
    """The titles of each order."""
    titles = {}
    for order in orders:
        writer.cut = 0
        chosen = dict(options)
        if order != "best":  # one direction has no partners
            chosen.pop("partners", None)
        found = writer.write(sources, order=order, **chosen)
        titles[order] = [best[0].text for best in found]
    return titles


def _rivals(
    run: RunDirectory, writer: Writer, sources: Sequence[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """What the baselines write, and a sentence about those that cannot."""
    if run.data_path.exists():
        return baselines(_training_pairs(run, writer), sources), []
    note = (
        f"`{run.path}` is without its training pairs, from which the other baselines learn: "
        "only the first sentence stands beside the model."
    )
    return {"first sentence": [sentences(source)[0] for source in sources]}, [note]


def _training_pairs(run: RunDirectory, writer: Writer) -> list[Pair]:
    """Pairs that the run was trained on, as its own data keep them: a share of a large corpus."""
    spool = Spool(run.data_path / "train")
    step = -(-len(spool) // TRAIN_LIMIT)
    return decoded(spool, writer.tokenizer, range(0, len(spool), step))


def _cut(writer: Writer, pairs: list[Pair]) -> list[str]:
    if not writer.cut:
        return []
    return [
        f"{writer.cut:,} of {len(pairs):,} texts were longer than the {writer.source_length} "
        "tokens that the model sees, and were cut."
    ]


def _case(writer: Writer) -> list[str]:
    if not writer.tokenizer.lower_case:
        return []
    return ["Capitals were not compared: the model reads and learned small letters."]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([name.strip().ljust(widths[0]), *numbers]).rstrip()
