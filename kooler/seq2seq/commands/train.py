"""`kooler train`: pairs of texts and titles → a run directory."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from kooler.seq2seq.commands.before import start_keras
from kooler.seq2seq.commands.ending import stopped
from kooler.seq2seq.commands.options import Run
from kooler.seq2seq.flags import with_settings


@with_settings
def train(
    run: Run,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            "--train",
            help="Pairs to learn from: .tsv (source TAB target), .jsonl "
            '({"source": …, "target": …}), .csv or .parquet (columns source and target), all but '
            "the last also with .gz, .xz or .zst. A file, a folder of such files or one that "
            "HuggingFace's save_to_disk wrote, a 'pattern*', or - for standard input (-.jsonl, if "
            "not .tsv). Give it several times for several.",
            metavar="FILE",
        ),
    ] = None,
    dev: Annotated[
        list[Path] | None,
        typer.Option("--dev", help="Pairs to choose the best weights by.", metavar="FILE"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run from its last checkpoint.")
    ] = False,
    **given: Any,
) -> None:
    r"""Learns from pairs of texts and titles.

    The run directory keeps all that is needed to use the model, and checkpoints:
        kooler train --train pairs.tsv --dev dev.tsv --run runs/first
    A larger network, several files, at most half an hour:
        kooler train --train a.tsv --train b.jsonl.gz --dev dev.tsv --run runs/second \
            --size small --minutes 30
    All Parquet files of a folder; pairs from a pipe, which are kept in the run directory:
        kooler train --train 'shards/train-*.parquet' --dev dev.csv --run runs/third
        zcat *.tsv.gz | kooler train --train - --dev dev.tsv --run runs/fourth
    Continue after Ctrl-C, a crash or a power cut, to the same weights as without it:
        kooler train --run runs/first --resume
    Continue, and train longer than planned:
        kooler train --run runs/first --resume --updates 40000
    Chinese titles, character by character:
        kooler train --train zh.tsv --dev zh_dev.tsv --run runs/zh --tokenizer characters
    """
    from kooler.seq2seq.run_directory import RunDirectory
    from kooler.seq2seq.settings import Settings

    if resume:
        directory = RunDirectory(run)
        settings = directory.settings().resumed_with(given)
        start_keras(directory.data()["backend"])
    else:
        settings = Settings(**given)
        start_keras()
    from kooler.seq2seq.display import make_display
    from kooler.seq2seq.train import train as start

    with stopped(lambda: _way_to_continue(run)):
        start(settings, train or (), dev or (), run, resume=resume, display=make_display())


def _way_to_continue(run: Path) -> str:
    from kooler.seq2seq.run_directory import RunDirectory

    if not RunDirectory(run).settings_path.exists():
        return "Nothing was kept; start again with the same command."
    return f"Continue with: kooler train --run {shlex.quote(str(run))} --resume"
