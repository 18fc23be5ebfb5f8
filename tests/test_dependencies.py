"""What the package imports is what `pyproject.toml` declares, no less and no more."""

import ast
import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1]
DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
CORE = {"keras", "numpy"}
EXTRAS_IN_USE = ("jax", "torch", "tensorflow", "seq2seq", "formats", "export", "plots", "serve")
MODULE_OF = {"scikit_learn": "sklearn", "pillow": "PIL", "backports.zstd": "backports"}


def test_the_core_needs_keras_and_numpy_only() -> None:
    assert modules(DECLARED["dependencies"]) == CORE


def test_every_import_is_declared_and_every_declaration_imported() -> None:
    extras = DECLARED["optional-dependencies"]
    declared = CORE.union(*(modules(extras[name]) for name in EXTRAS_IN_USE))

    assert imported_packages() == declared


def test_everything_that_is_tested_with_is_pinned() -> None:
    lines = (PROJECT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {distribution(line) for line in lines if line and line[0] != "#"}
    extras = DECLARED["optional-dependencies"]
    tested = [
        *extras["seq2seq"],
        *extras["formats"],
        *extras["plots"],
        *extras["docs"],
        *extras["backends"],
        *extras["dev"],
        *extras["benchmarks"],
    ]

    assert {distribution(line) for line in [*DECLARED["dependencies"], *tested]} <= pinned | {
        "kooler"
    }


def imported_packages() -> set[str]:
    """The packages that kooler imports anywhere, without itself and the standard library."""
    found = set()
    for path in (PROJECT / "kooler").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"kooler"}


def modules(requirements: list[str]) -> set[str]:
    """The names under which required packages are imported."""
    names = {distribution(line) for line in requirements}
    return {MODULE_OF.get(name, name) for name in names}


def distribution(requirement: str) -> str:
    """The name in a requirement, spelled the way of modules."""
    return re.split(r"[\[<>=; ]", requirement)[0].lower().replace("-", "_")
