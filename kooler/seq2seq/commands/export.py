"""`kooler export`: a run → a folder to give away."""

from pathlib import Path
from typing import Annotated

import typer

from kooler.seq2seq.commands.before import check_run, start_keras
from kooler.seq2seq.commands.ending import say, stopped
from kooler.seq2seq.commands.options import BeamSize, Run


def export(
    run: Run,
    output: Annotated[
        Path, typer.Option(help="The folder to make; missing or empty.", metavar="DIRECTORY")
    ],
    test: Annotated[
        list[Path] | None,
        typer.Option("--test", help="Pairs to measure with, for the card.", metavar="FILE"),
    ] = None,
    beam_size: BeamSize = 5,
) -> None:
    """Makes a folder to give away: weights, tokenizer, settings, and a model card.

    With the scores on pairs that the training has not seen, beside baselines:
        kooler export --run runs/first --output model --test test.tsv
    What takes a run directory takes the folder:
        kooler generate --run model < texts.txt
    """
    from kooler.seq2seq.model_card import check_empty, export_run

    check_run(run, ["best"], beam_size=beam_size, length_penalty=1.0, max_length=None)
    check_empty(output)
    measured = None
    with stopped(lambda: "Nothing was written."):
        if test:
            start_keras()
            from kooler.seq2seq.measure import measure

            measured = measure(run, test, beam_size=beam_size)
        export_run(run, output, measured)
    say(f"`{output}` holds the model. Write a licence into its README.md before you publish it.")
