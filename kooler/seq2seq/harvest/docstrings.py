"""The docstrings of Python files: a function, and what else is said of it → the summary line.

The text is the head of the function or class, the rest of its docstring, and its code without the
docstring; the title is the first line.  Files are parsed, never imported.
"""

import ast
import re
import sysconfig
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from kooler.seq2seq.harvest.record import Record

CODE_CHARACTERS = 1200
_Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def docstring_records(folders: Sequence[Path] = ()) -> Iterator[Record]:
    """The documented functions and classes of all Python files in some folders.

    Args:
        folders: Where to look; none means the standard library and the installed packages.

    Raises:
        ValueError: If a folder does not exist.
    """
    for folder in folders or _installed():
        if not folder.is_dir():
            raise ValueError(f"`{folder}` is no folder of Python files.")
        for path in sorted(folder.rglob("*.py"), key=_chance):
            if not {"test", "tests"} & set(path.parts):
                yield from _of_file(path)


def _installed() -> list[Path]:
    """The standard library, which holds the installed packages too, or beside it."""
    paths = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")]
    return [paths[0]] if paths[1].is_relative_to(paths[0]) else paths


def _chance(path: Path) -> int:
    """Mixes the files, so that those of a limited corpus are of many packages."""
    return zlib.crc32(bytes(path))


def _of_file(path: Path) -> Iterator[Record]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of code that is not ours
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, _Documented) and (text := ast.get_docstring(node)):
            yield _record(node, text)


def _record(node: _Documented, text: str) -> Record:
    summary, _, rest = text.partition("\n\n")
    title = re.sub(r"\s+", " ", summary).strip().rstrip(".")
    code = [*node.body[1:]]
    node.body = [ast.Pass()]
    head = ast.unparse(node).removesuffix("pass").strip()
    node.body = [ast.Pass(), *code]
    body = "\n".join(ast.unparse(part) for part in code)[:CODE_CHARACTERS]
    return Record(f"{head} {rest} {body}", title)
