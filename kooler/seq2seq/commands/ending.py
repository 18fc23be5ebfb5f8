"""How a command ends early, what becomes of its output, and how it speaks: one line on stderr."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import typer

from kooler.seq2seq.interruption import terminable

INTERRUPTED = 130  # exit codes as the shell gives them to what a signal ended
BROKEN_PIPE = 141
TERMINATED = 143


@contextlib.contextmanager
def stopped(advice: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the command with a sentence instead of a traceback, or of silence."""
    try:
        with terminable():
            yield
    except (KeyboardInterrupt, SystemExit) as stop:
        say(f"interrupted. {advice()}")
        raise typer.Exit(TERMINATED if isinstance(stop, SystemExit) else INTERRUPTED) from None


@contextlib.contextmanager
def target_of(output: Path | None) -> Iterator[TextIO]:
    """Where titles go: stdout, or a file that takes its place when all are written."""
    if output is None:
        with checked_stdout():
            yield sys.stdout
        return
    from kooler.core.atomic import replacing

    with replacing(output) as part, part.open("w", encoding="utf-8") as target:
        try:
            yield target
            target.flush()
        except OSError as error:
            if error.filename or error.errno is None:
                raise
            raise ValueError(
                f"`{output}` cannot be written ({error.strerror}); it is as it was."
            ) from None


@contextlib.contextmanager
def checked_stdout() -> Iterator[None]:
    """What becomes of titles that nobody takes.

    A reader that has seen enough (`| head`) ends the command silently; a full disk is an error.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
        raise typer.Exit(BROKEN_PIPE) from None
    except OSError as error:
        if error.filename or error.errno is None:  # a file, and it has been named
            raise
        _drop_output()
        raise ValueError(
            f"stdout cannot be written ({error.strerror}). What was written so far may be cut."
        ) from None


def _drop_output() -> None:
    """Python flushes stdout once more at exit; that must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """One line on stderr, whatever the text holds and however wide the terminal is."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    print(f"kooler: {line}", file=sys.stderr, flush=True)
