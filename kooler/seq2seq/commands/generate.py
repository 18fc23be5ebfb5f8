"""`kooler generate`: texts → titles."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from kooler.seq2seq.commands.before import check_run, run_or_shipped, start_keras
from kooler.seq2seq.commands.ending import say, stopped, target_of
from kooler.seq2seq.commands.options import (
    BeamSize,
    LengthPenalty,
    MaxLength,
    Order,
    Partners,
    RankBy,
    RunOrShipped,
)


def generate(
    run: RunOrShipped = None,
    order: Order = "best",
    beam_size: BeamSize = 5,
    n_best: Annotated[
        int,
        typer.Option(help="Titles a text, one line each; at most --beam-size.", metavar="COUNT"),
    ] = 1,
    length_penalty: LengthPenalty = 1.0,
    max_length: MaxLength = None,
    partners: Partners = "rank",
    rank_by: RankBy = "score",
    jsonl: Annotated[
        bool,
        typer.Option("--jsonl", help="Write one JSON object a text, with scores and orders."),
    ] = False,
    texts: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            help="Texts from here and not from stdin; may be given several times: .txt (a text a "
            "line), .tsv (what is before the tab), .jsonl, .csv, .parquet (what is named source), "
            "also compressed, folders, and patterns.",
            metavar="FILE",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write the titles here, whole or not at all, and not to stdout.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Writes a title for each text, in the same order: for each line of stdin, or of files.

    Titles for abstracts, one a line, with the model that comes with kooler:
        kooler generate < abstracts.txt
    With a model of your own:
        kooler generate --run runs/first < texts.txt > titles.txt
    From both ends at once, and fast:
        kooler generate --run runs/first --order fast --beam-size 1 < texts.txt
    The three best titles of each text, with their scores:
        kooler generate --run runs/first --n-best 3 --jsonl < texts.txt
    For the texts of a corpus, into a file that is there when all are written:
        kooler generate --run runs/first --input test.parquet --output titles.txt
    An empty line gives an empty title.
    """
    from kooler.core.atomic import check_place
    from kooler.seq2seq.source_texts import read_texts

    run = run_or_shipped(run)
    options: dict[str, Any] = {
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "partners": partners,
        "rank_by": rank_by,
    }
    check_run(run, [order], n_best, **options)
    source = read_texts(texts) if texts else sys.stdin
    if not texts and sys.stdin and sys.stdin.isatty():
        say("reading texts from the terminal, one a line; Ctrl-D ends.")
    if output:
        check_place(output)
    start_keras()
    from kooler.seq2seq.stream import write_titles

    with stopped(lambda: _what_is_missing(output)), target_of(output) as target:
        cut = write_titles(run, source, target, jsonl=jsonl, order=order, n_best=n_best, **options)
    if cut:
        say(cut)


def _what_is_missing(output: Path | None) -> str:
    if output:
        return f"`{output}` was not written."
    return "The titles of the remaining texts were not written."
