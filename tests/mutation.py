"""Plants one fault after the other in a file, and reports the faults that no test notices.

    KERAS_BACKEND=torch python -m tests.mutation kooler/core/batch.py tests/core/test_batch.py
    … [--every 5]     only every fifth fault
    … [--seconds 120] longest run of the tests; a longer one counts as noticed

The faults: a comparison turned round, + for −, × for ÷, `and` for `or`, a number one larger, a
condition negated, a statement left out, a keyword argument left out. Each is planted in a copy of
the project, so the working tree is never touched. What survives shows a missing test, or a line
that does nothing.
"""

import argparse
import ast
import copy
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("kooler", "tests", "pyproject.toml", "benchmarks")
SWAPS: dict[type, type] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE,
    ast.LtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """Yields a description and the source of every faulty version."""
    tree = ast.parse(source)
    lines = source.splitlines()
    for index, node in enumerate(ast.walk(tree)):
        for change in changes(node):
            mutant = copy.deepcopy(tree)
            what = change(list(ast.walk(mutant))[index])
            line = getattr(node, "lineno", 1)
            yield f"line {line}: {what}: {lines[line - 1].strip()}", ast.unparse(mutant)


def changes(node: ast.AST) -> Iterator:
    """Functions that plant a fault in a node of this kind, and say which."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield lambda twin: swap(twin.ops, 0)
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        yield swap_operator
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield increase
    if isinstance(node, ast.If | ast.IfExp):
        yield negate
    if isinstance(node, ast.Call) and node.keywords:
        yield drop_keyword
    for name in ("body", "orelse", "finalbody"):
        body = getattr(node, name, None)
        if isinstance(body, list):
            for i, statement in enumerate(body):
                if droppable(statement):
                    yield lambda twin, name=name, i=i: drop(getattr(twin, name), i)


def droppable(statement: ast.stmt) -> bool:
    """Statements whose absence leaves a program, and that are no docstrings."""
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Assign | ast.AugAssign | ast.Raise | ast.Delete | ast.Return)


def swap(operators: list, i: int) -> str:
    operators[i] = SWAPS[type(operators[i])]()
    return f"now {type(operators[i]).__name__}"


def swap_operator(twin: ast.BinOp | ast.BoolOp) -> str:
    twin.op = SWAPS[type(twin.op)]()
    return f"now {type(twin.op).__name__}"


def increase(twin: ast.Constant) -> str:
    twin.value += 1
    return f"now {twin.value}"


def negate(twin: ast.If | ast.IfExp) -> str:
    twin.test = ast.UnaryOp(ast.Not(), twin.test)
    return "condition negated"


def drop_keyword(twin: ast.Call) -> str:
    return f"without {twin.keywords.pop().arg}"


def drop(body: list, i: int) -> str:
    body[i] = ast.copy_location(ast.Pass(), body[i])
    return "left out"


def survives(copied: Path, file: Path, source: str, tests: list[str], seconds: float) -> bool:
    """Whether the tests pass although the file is wrong."""
    (copied / file).write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "KOOLER_TIME_FACTOR": "100"}
    environment["PYTHONPATH"] = str(copied)
    try:
        done = subprocess.run(
            command, cwd=copied, env=environment, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    """Reports, and fails if the tests fail without any fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    source = (ROOT / options.file).read_text()
    chosen = list(mutants(source))[:: options.every]
    with tempfile.TemporaryDirectory() as directory:
        copied = Path(directory)
        for name in COPIED:
            origin = ROOT / name
            if origin.is_dir():
                shutil.copytree(origin, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif origin.exists():
                shutil.copy(origin, copied / name)
        if not survives(copied, options.file, source, options.tests, 10 * options.seconds):
            print("The tests fail without any fault.")
            return 1
        survivors = []
        for what, mutant in chosen:
            alive = survives(copied, options.file, mutant, options.tests, options.seconds)
            if alive:
                survivors.append(what)
                print(f"survived: {what}", flush=True)
    print(f"{options.file}: {len(chosen)} faults, {len(survivors)} survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
