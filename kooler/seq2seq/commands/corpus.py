"""`kooler corpus git`, `docstrings`, `apt`, `pairs`: each gathers, and writes three files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from kooler.seq2seq.flags import registered

Output = Annotated[
    Path, typer.Option("--output", help="Folder for the three files.", metavar="DIRECTORY")
]
Share = Annotated[
    float, typer.Option(help="The part for dev, and again for test.", metavar="NUMBER")
]
Limit = Annotated[
    int | None, typer.Option(help="Most pairs; all if not given.", metavar="COUNT", min=1)
]

app = typer.Typer(
    name="corpus",
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Makes pairs of texts and titles from what you have.\n\n\b\n"
    "    kooler corpus git ~/project --output data/commits\n"
    "    kooler corpus docstrings --output data/docstrings\n"
    "    kooler corpus apt --output data/packages\n"
    "    kooler corpus pairs news.csv --columns body,headline --output data/news\n"
    "Each writes train.tsv, dev.tsv and test.tsv, with nothing nearly the same on two sides, and\n"
    "says what the pairs are like and whether they make a title task.",
)


def git(
    path: Annotated[Path, typer.Argument(help="A git repository.", metavar="PATH")],
    output: Output,
    share: Share = 0.1,
    limit: Limit = None,
) -> None:
    """Gathers commits: the body → the subject, divided by date.

    From the history of a project:
        kooler corpus git ~/project --output data/commits
    """
    from kooler.seq2seq.harvest.git_history import git_records

    _build(git_records(path), output, share=share, limit=limit, by_time=True)


def docstrings(
    output: Output,
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Python files; the installed ones if none.", metavar="[FOLDER]…"),
    ] = None,
    share: Share = 0.1,
    limit: Limit = None,
) -> None:
    """Gathers functions of Python files: head, explanation and code → the summary line.

    From the standard library and the installed packages, which are read and not run:
        kooler corpus docstrings --output data/docstrings
    """
    from kooler.seq2seq.harvest.docstrings import docstring_records

    _build(docstring_records(folders or ()), output, share=share, limit=limit)


def apt(output: Output, share: Share = 0.1, limit: Limit = None) -> None:
    """Gathers packages of this Debian machine: the description → the synopsis.

    From what `apt-get update` has fetched:
        kooler corpus apt --output data/packages
    """
    from kooler.seq2seq.harvest.apt_packages import apt_records

    _build(apt_records(), output, share=share, limit=limit)


def pairs(
    files: Annotated[list[Path], typer.Argument(help="Files of pairs.", metavar="FILE…")],
    output: Output,
    columns: Annotated[
        str, typer.Option(help="The columns of text and title.", metavar="TEXT,TITLE")
    ] = "source,target",
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Leave out lines that cannot be read.")
    ] = False,
    share: Share = 0.1,
    limit: Limit = None,
) -> None:
    """Gathers two columns of CSV, JSON lines or Parquet, or TSV files of two columns.

    Two columns of a table:
        kooler corpus pairs news.csv --columns body,headline --output data/news
    """
    from kooler.seq2seq.corpus import read_pairs
    from kooler.seq2seq.harvest.record import Record

    names = tuple(name.strip() for name in columns.split(","))
    if len(names) != 2 or not all(names):
        raise ValueError(f"--columns must name two columns, like body,headline, not {columns!r}.")
    found = read_pairs(files, skip_bad_lines=skip_bad_lines, columns=names)
    _build((Record(*pair) for pair in found), output, share=share, limit=limit)


def _build(records: Iterable[Any], output: Path, **options: Any) -> None:
    from kooler.seq2seq.harvest.build import build_corpus

    build_corpus(records, output, print, **options)


for _function in (git, docstrings, apt, pairs):
    registered(app, _function)
