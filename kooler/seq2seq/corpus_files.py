"""Which files a corpus is: names, folders and patterns, and standard input.

    pairs.tsv        a file
    shards/          a folder: the files in it by name, those aside that begin with . or _
    news/            a HuggingFace dataset that `save_to_disk` wrote
    'shards/*.csv'   a pattern, `**` for folders within folders: what it finds, by name
    -                standard input, as tab separated text
    -.jsonl.gz       standard input, in the format of that suffix

The suffix tells the format, and may be followed by one that tells the compression.  Standard input
can be read only once, but a tokenizer, several epochs and a training that resumes read a corpus
again: it is written to a file first, which takes its place.
"""

import glob
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from kooler.core.atomic import replacing
from kooler.seq2seq.arrow_rows import dataset_files
from kooler.seq2seq.compression import COMPRESSIONS, compression_of
from kooler.seq2seq.corpus_errors import CorpusError, shown

TAB_SEPARATED = (".tsv", ".txt")
JSON_LINES = (".jsonl", ".json")
COMMA_SEPARATED = (".csv",)
PARQUET = (".parquet",)
ARROW = (".arrow",)
FORMATS = TAB_SEPARATED + JSON_LINES + COMMA_SEPARATED + PARQUET + ARROW

Paths = Path | str | Sequence[Path | str]


def corpus_files(paths: Paths) -> list[Path]:
    """The files that names, folders and patterns stand for.

    Raises:
        CorpusError: If there is none, or one is missing, of an unknown suffix, or no file.
    """
    named = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    if not named:
        raise CorpusError("no corpus file was given; name at least one .tsv or .jsonl file.")
    files = [file for path in named for file in _found(path)]
    for file in files:
        _check_file(file)
    return files


def format_of(path: Path) -> str:
    """The suffix that tells the format, in small letters."""
    return (path.with_suffix("") if compression_of(path) else path).suffix.lower()


def is_standard_input(path: Path | str) -> bool:
    """Whether a name means standard input."""
    return str(path) == "-" or str(path).startswith("-.")


def keep_standard_input(paths: Sequence[Path | str], folder: Path) -> list[Path | str]:
    """Writes standard input to a file, whole or not at all, if one of the paths means it.

    Args:
        paths: Files of a corpus, see `check_standard_input`.
        folder: Where the file belongs; made if need be.

    Returns:
        The paths, with the file in the place of standard input.

    Raises:
        OSError: If it cannot be written; what was there before is untouched.
    """
    return [_kept(path, folder) if is_standard_input(path) else path for path in paths]


def check_standard_input(paths: Sequence[Path | str]) -> None:
    """Looks at paths before anything is read.

    Raises:
        CorpusError: If they name standard input twice, or with an unknown suffix, or if it is a
            terminal; also if one of the others is not there.
    """
    names = [str(path) for path in paths if is_standard_input(path)]
    if len(names) > 1:
        raise CorpusError(
            f"{' and '.join(names)}: standard input can be read only once; name a file instead."
        )
    if names and sys.stdin.isatty():
        raise CorpusError(
            f"{names[0]}: standard input is a terminal; pipe pairs into it, as in "
            "`zcat pairs.tsv.gz | kooler train --train - …`."
        )
    for path in paths:
        if is_standard_input(path):
            _check_format(_as_file(path))
        else:
            corpus_files(path)


def _kept(path: Path | str, folder: Path) -> Path:
    file = folder / _as_file(path)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(file) as part, part.open("wb") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return file


def _as_file(path: Path | str) -> Path:
    """The name of the file that holds what came from standard input: - is tab separated."""
    return Path("stdin" + (str(path)[1:] or ".tsv"))


def _found(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from dataset_files(path) or _in_folder(path)
    elif path.exists() or not glob.has_magic(str(path)):
        yield path
    else:
        found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  (Path.glob takes no absolute pattern)
        if not found:
            raise CorpusError(f"{shown(path)}: no file fits this pattern.")
        yield from (file for name in found if not (file := Path(name)).is_dir())


def _in_folder(folder: Path) -> Iterator[Path]:
    files = sorted(file for file in folder.iterdir() if not file.name.startswith((".", "_")))
    if not files:
        raise CorpusError(f"{shown(folder)}: there is no file in this folder.")
    for file in files:
        if file.is_dir() or format_of(file) not in FORMATS:
            kind = "folder" if file.is_dir() else "file"
            raise CorpusError(
                f"{shown(folder)}: not only pairs are in this folder, also the {kind} {file.name}; "
                f"name the files by a pattern, such as '{folder / '*.parquet'}'."
            )
    yield from files


def _check_file(path: Path) -> None:
    name = shown(path)
    if is_standard_input(path):
        raise CorpusError(f"{name}: standard input cannot be read here; name a file.")
    if not path.exists():
        raise CorpusError(f"{name}: no such file.")
    if not path.is_file():
        raise CorpusError(f"{name}: is no plain file, so it cannot be read twice; pipe it to -.")
    _check_format(path)


def _check_format(path: Path) -> None:
    if format_of(path) not in FORMATS:
        raise CorpusError(
            f"{shown(path)}: unknown suffix {format_of(path)!r}; name the file .tsv or .txt "
            '(source TAB target), .jsonl or .json ({"source": …, "target": …} a line), .csv or '
            ".parquet or .arrow (columns source and target); all but these two also with "
            f"{', '.join(COMPRESSIONS)}."
        )
    if format_of(path) in PARQUET + ARROW and compression_of(path):
        raise CorpusError(
            f"{shown(path)}: Parquet and Arrow are not read front to back; unpack the file to "
            f"{path.stem}."
        )
