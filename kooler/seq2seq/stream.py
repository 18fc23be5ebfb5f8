"""Lines in, titles out: `kooler generate`, in bounded memory.

Texts are taken in windows, so that a batch holds texts of similar length; on a terminal a window is
one line, and every line is answered at once.
"""

import itertools
import json
import os
from collections.abc import Iterator
from typing import IO, Any, TextIO, cast

from kooler.seq2seq.corpus import read_sources
from kooler.seq2seq.writer import Title, Writer

WINDOW = 512  # texts


def write_titles(
    run_directory: str | os.PathLike[str],
    source: IO[str] | IO[bytes] | Iterator[str] | None,
    target: TextIO | None,
    *,
    jsonl: bool = False,
    n_best: int = 1,
    **options: Any,
) -> str | None:
    """Writes titles for the lines of a stream, in their order.

    Args:
        run_directory: The run whose model writes.
        source: One text a line, or the texts.
        target: Gets `n_best` lines a text, best title first; empty ones where fewer were found.
        jsonl: Whether to write one JSON object a text instead, with scores.
        n_best: Titles a text.
        options: More of what `generate` takes.

    Returns:
        A sentence about texts that were cut, None if none was.

    Raises:
        CorpusError: For a line that is no UTF-8; the titles of the lines before it are written.
    """
    if source is None or target is None:  # Python's way to say that the shell closed them
        raise ValueError("stdin and stdout must be open: texts come in there, and titles go out.")
    writer = Writer.load(run_directory)
    count = 0
    for window in _windows(*_texts(source)):
        for titles in writer.write(window, n_best=n_best, **options):
            target.write(_as_json(titles) if jsonl else _as_lines(titles, n_best))
        target.flush()
        count += len(window)
    if not writer.cut:
        return None
    return (
        f"{writer.cut:,} of {count:,} texts were longer than the {writer.source_length} tokens "
        "that the model sees, and were cut."
    )


def _texts(source: IO[str] | IO[bytes] | Iterator[str]) -> tuple[Iterator[str], int]:
    """Texts, and how many are taken at a time."""
    if not hasattr(source, "isatty"):
        return source, WINDOW
    stream = cast(IO[str], source)
    return read_sources(stream, "stdin"), 1 if stream.isatty() else WINDOW


def _windows(texts: Iterator[str], size: int) -> Iterator[list[str]]:
    """Lists of `size` texts; what came before a broken line is still handed out."""
    while True:
        window: list[str] = []
        try:
            for text in itertools.islice(texts, size):
                window.append(text)
        except ValueError:
            yield window
            raise
        if not window:
            return
        yield window


def _as_lines(titles: list[Title], count: int) -> str:
    """A title is one line, whatever it holds."""
    lines = [" ".join(title.text.splitlines()) for title in titles]
    return "".join(f"{line}\n" for line in lines + [""] * (count - len(lines)))


def _as_json(titles: list[Title]) -> str:
    records = [{"title": title.text, **title.facts()} for title in titles]
    return json.dumps({"titles": records}, ensure_ascii=False) + "\n"
