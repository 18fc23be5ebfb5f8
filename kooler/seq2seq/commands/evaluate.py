"""`kooler evaluate`: a run and pairs that it has not seen → a table of scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from kooler.seq2seq.commands.before import check_run, run_or_shipped, start_keras
from kooler.seq2seq.commands.ending import checked_stdout, say, stopped
from kooler.seq2seq.commands.options import (
    BeamSize,
    LengthPenalty,
    MaxLength,
    Partners,
    RankBy,
    RunOrShipped,
)


def evaluate(
    test: Annotated[
        list[Path],
        typer.Option("--test", help="Pairs to measure with, as for training.", metavar="FILE"),
    ],
    run: RunOrShipped = None,
    order: Annotated[
        list[str] | None,
        typer.Option(
            help="An order to measure; several if given several times, all if never.",
            metavar="l2r|r2l|mid|best|fast|standard",
        ),
    ] = None,
    beam_size: BeamSize = 5,
    length_penalty: LengthPenalty = 1.0,
    max_length: MaxLength = None,
    partners: Partners = "rank",
    rank_by: RankBy = "score",
    output: Annotated[
        Path | None,
        typer.Option(help="Write the titles of the last order measured here.", metavar="FILE"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a report with pictures as one HTML file.", metavar="FILE"),
    ] = None,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Leave out lines that cannot be read.")
    ] = False,
    tokenize: Annotated[
        str,
        typer.Option(
            help="Tokens of BLEU; none for text whose tokens are separated by spaces already.",
            metavar="auto|13a|intl|zh|char|none",
        ),
    ] = "auto",
    join_subwords: Annotated[
        bool, typer.Option("--join-subwords", help="Remove `@@ ` from both sides before scoring.")
    ] = False,
) -> None:
    """Measures titles, beside baselines that need no learning.

    All orders, on pairs that the training has not seen:
        kooler evaluate --run runs/first --test test.tsv
    One order, and keep what it wrote:
        kooler evaluate --run runs/first --test test.tsv --order l2r --output titles.txt
    A page with curves, samples and pictures:
        kooler evaluate --run runs/first --test test.tsv --report report.html
    """
    from kooler.core.atomic import check_place
    from kooler.seq2seq.evaluate import check_bleu_tokenizer

    run = run_or_shipped(run)
    options: dict[str, Any] = {
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "partners": partners,
        "rank_by": rank_by,
    }
    check_run(run, order or ["best"], **options)
    check_bleu_tokenizer(tokenize)
    for path in (output, report):
        if path:
            check_place(path)
    start_keras()
    from kooler.seq2seq.measure import measure, table

    with stopped(lambda: "Nothing was measured."), checked_stdout():
        measured = measure(
            run,
            test,
            order or (),
            skip_bad_lines=skip_bad_lines,
            tokenize=tokenize,
            join_subwords=join_subwords,
            **options,
        )
        for note in measured.notes:
            say(note)
        print(table(measured.rows))
        if output:
            titles = measured.titles[_last_order(measured.rows)]
            output.write_text("".join(f"{title}\n" for title in titles), "utf-8")
        if report:
            _write_report(run, measured, report)


def _write_report(run: Path, measured: Any, path: Path) -> None:
    from kooler.seq2seq.run_directory import RunDirectory
    from kooler.seq2seq.run_report import write_run_report
    from kooler.seq2seq.writer import Writer

    name = run.resolve().name
    write_run_report(RunDirectory(run), Writer.load(run), measured, title=name, path=path)


def _last_order(rows: Sequence[Any]) -> str:
    return str([row.name for row in rows if row.kind == "model"][-1])
