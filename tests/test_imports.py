"""What an import brings along: one backend and no other, and where only text is handled, none.

Each question is asked in a process of its own, since this one has long imported Keras.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kooler"
BACKENDS = {"jax", "torch", "tensorflow"}
HEAVY = BACKENDS | {"keras", "sklearn", "matplotlib", "transformers"}
# The files that know text, settings or files on disk, but no tensor.
WITHOUT_KERAS = [
    "kooler.core.atomic",
    "kooler.seq2seq.array_files",
    "kooler.seq2seq.arrow_rows",
    "kooler.seq2seq.backend",
    "kooler.seq2seq.baselines",
    "kooler.seq2seq.briefs",
    "kooler.seq2seq.casing",
    "kooler.seq2seq.cli",
    "kooler.seq2seq.commands.corpus",
    "kooler.seq2seq.comparison",
    "kooler.seq2seq.compression",
    "kooler.seq2seq.corpus",
    "kooler.seq2seq.corpus_errors",
    "kooler.seq2seq.corpus_files",
    "kooler.seq2seq.counted",
    "kooler.seq2seq.csv_records",
    "kooler.seq2seq.display",
    "kooler.seq2seq.evaluate",
    "kooler.seq2seq.flags",
    "kooler.seq2seq.harvest.apt_packages",
    "kooler.seq2seq.harvest.build",
    "kooler.seq2seq.harvest.docstrings",
    "kooler.seq2seq.harvest.git_history",
    "kooler.seq2seq.harvest.near_duplicates",
    "kooler.seq2seq.harvest.profile",
    "kooler.seq2seq.interruption",
    "kooler.seq2seq.lines",
    "kooler.seq2seq.lock",
    "kooler.seq2seq.memory",
    "kooler.seq2seq.model_card",
    "kooler.seq2seq.parquet_rows",
    "kooler.seq2seq.report",
    "kooler.seq2seq.reserved_ids",
    "kooler.seq2seq.rules",
    "kooler.seq2seq.run_directory",
    "kooler.seq2seq.serve.limits",
    "kooler.seq2seq.serve.metrics",
    "kooler.seq2seq.serve.openapi",
    "kooler.seq2seq.serve.page",
    "kooler.seq2seq.serve.query",
    "kooler.seq2seq.settings",
    "kooler.seq2seq.sizes",
    "kooler.seq2seq.spool",
    "kooler.seq2seq.tokenizer",
]


def test_importing_everything_brings_in_one_backend_only() -> None:
    # TensorFlow itself imports JAX where that is installed (for tf.lite): Keras alone is asked too.
    by_keras = loaded_by("import keras") & BACKENDS

    loaded = loaded_by(f"import {', '.join(all_modules())}") & BACKENDS

    assert loaded == by_keras
    assert os.environ["KERAS_BACKEND"] in loaded
    assert loaded - {"jax"} == {os.environ["KERAS_BACKEND"]} - {"jax"}


def test_importing_kooler_is_light() -> None:
    loaded = loaded_by("import kooler")

    assert loaded & (HEAVY | {"numpy", "tokenizers", "rich", "typer"}) == set()


def test_the_files_that_know_text_run_without_keras() -> None:
    loaded = loaded_by(f"import {', '.join(WITHOUT_KERAS)}")

    assert loaded & HEAVY == set()


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"], ["--version"]])
def test_the_command_line_answers_without_keras(command: list[str]) -> None:
    loaded = loaded_by(
        "import sys, contextlib, io\n"
        "from kooler.__main__ import main\n"
        f"sys.argv = ['kooler', *{command!r}]\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    main()"
    )

    assert loaded & HEAVY == set()


def test_a_planted_import_is_noticed() -> None:
    assert "colorsys" in loaded_by("import colorsys")


def loaded_by(statements: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after some statements."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{statements}\n{report}"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def all_modules() -> list[str]:
    """Every module of the package but the one that starts the command line."""
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(PACKAGE.rglob("*.py"))
    ]
    return [name for name in names if name != "kooler.__main__"]
