"""`kooler explain`: one text → a page that shows how its title is written."""

import sys
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from kooler.seq2seq.commands.before import check_run, run_or_shipped, start_keras
from kooler.seq2seq.commands.ending import say, stopped
from kooler.seq2seq.commands.options import BeamSize, MaxLength, RankBy, RunOrShipped


def explain(
    run: RunOrShipped = None,
    text: Annotated[
        str | None,
        typer.Option(help="The text; the first line of stdin if not given.", metavar="TEXT"),
    ] = None,
    output: Annotated[Path, typer.Option(help="The page to write.", metavar="FILE")] = Path(
        "explain.html"
    ),
    beam_size: BeamSize = 5,
    max_length: MaxLength = None,
    rank_by: RankBy = "score",
) -> None:
    """Draws how the title of one text is written, as one HTML page.

    Both ends growing, the beams of all orders, and where the model looks:
        kooler explain --run runs/first --text "…" --output explain.html
    """
    from kooler.core.atomic import check_place

    run = run_or_shipped(run)
    options: dict[str, Any] = {
        "beam_size": beam_size,
        "max_length": max_length,
        "rank_by": rank_by,
    }
    check_run(run, ["best"], length_penalty=1.0, **options)
    check_place(output)
    text = _first_line(sys.stdin) if text is None else text
    start_keras()
    from kooler.seq2seq.explain import explain as explained
    from kooler.seq2seq.explain import write_explanation
    from kooler.seq2seq.writer import Writer

    with stopped(lambda: "Nothing was written."):
        write_explanation(output, explained(Writer.load(run), text, **options))
    say(f"`{output}` shows it; open it in a browser.")


def _first_line(stream: IO[str]) -> str:
    from kooler.seq2seq.corpus import read_sources

    return next(read_sources(stream, "stdin"), "")
