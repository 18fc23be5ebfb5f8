"""`kooler demo`: nothing → a model, its titles and its scores, in minutes."""

from pathlib import Path
from typing import Annotated

import typer

from kooler.seq2seq.commands.before import start_keras
from kooler.seq2seq.commands.ending import checked_stdout, stopped


def demo(
    language: Annotated[str, typer.Option(help="Language of the briefs.", metavar="en|zh")] = "en",
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Run directory; runs/demo, or a next one, if not given.",
            metavar="DIRECTORY",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Other briefs, and other weights; from 0 on.", metavar="COUNT")
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Stop the training after this long; it takes about 4 minutes on two cores.",
            metavar="MINUTES",
        ),
    ] = None,
) -> None:
    """Learns to write headlines of made-up news, and shows them.

    Nothing is downloaded; two processor cores are enough:
        kooler demo
    Briefs in Chinese:
        kooler demo --language zh
    It leaves a run directory that the other commands understand, with a report.html:
        kooler generate --run runs/demo < briefs.txt
    """
    start_keras()
    from kooler.seq2seq.demo import demonstrate

    with stopped(lambda: "The demo did not finish."), checked_stdout():
        demonstrate(language, run, seed, minutes)
