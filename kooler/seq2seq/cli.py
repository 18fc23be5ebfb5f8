"""The command line: `kooler demo`, `train`, `generate`, `evaluate`, `explain`, `serve`, `export`.

Wrong input ends with one line on stderr, `kooler: error: …`, never wrapped, and exit code 2.  What
is wrong is found before Keras is imported where that is possible, and Keras is imported by the
commands that need it only.  `KOOLER_TRACEBACK=1` shows where an error comes from.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from kooler import __version__
from kooler.seq2seq.commands.corpus import app as corpus
from kooler.seq2seq.commands.demo import demo
from kooler.seq2seq.commands.ending import INTERRUPTED, say
from kooler.seq2seq.commands.evaluate import evaluate
from kooler.seq2seq.commands.explain import explain
from kooler.seq2seq.commands.export import export
from kooler.seq2seq.commands.generate import generate
from kooler.seq2seq.commands.serve import serve
from kooler.seq2seq.commands.train import train
from kooler.seq2seq.flags import registered
from kooler.seq2seq.memory import is_out_of_memory

# The base of all complaints about options, wherever this version of typer keeps it.
_USAGE_ERROR: type[Any] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)

_OUT_OF_MEMORY = (
    "there is not enough memory. Lower --beam-size and --max-length where titles are written, "
    "--batch-tokens and the size of the network where they are learned."
)


app = typer.Typer(
    name="kooler",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

app.add_typer(corpus, short_help="Makes pairs of texts and titles from what you have.")
for _command in (train, generate, evaluate, explain, serve, export, demo):
    registered(app, _command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: The arguments; None takes those of the process.

    Returns:
        The exit code: 0, 1 for a training that diverged, 2 for wrong input and for too little
        memory, 130 after Ctrl-C, 143 after SIGTERM.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = typer.main.get_command(app).main(given, "kooler", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except _USAGE_ERROR as error:
        return _fail(_usage_message(error))
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("KOOLER_TRACEBACK"):
            raise
        return _fail(_message(error), 1 if isinstance(error, FloatingPointError) else 2)
    except (MemoryError, RuntimeError) as error:
        if os.environ.get("KOOLER_TRACEBACK") or not is_out_of_memory(error):
            raise
        return _fail(_OUT_OF_MEMORY)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kooler {__version__}")
        raise typer.Exit


@app.callback(
    help="Learns to write titles, from the left, from the right, and from both ends.\n\n\b\n"
    "See it work, in a few minutes and without any data:\n"
    "    kooler demo\n"
    "Train on your own pairs of texts and titles, then use and measure what was learned:\n"
    "    kooler train --train pairs.tsv --dev dev.tsv --run runs/first\n"
    "    kooler generate --run runs/first < texts.txt\n"
    "    kooler evaluate --run runs/first --test test.tsv"
)
def _kooler(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _usage_message(error: Any) -> str:
    command = getattr(getattr(error, "ctx", None), "command_path", "kooler")
    text: str = error.format_message().rstrip(".")
    return f"{text}. `{command} --help` explains the options."


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _fail(message: str, code: int = 2) -> int:
    say(f"error: {message}")
    return code
