"""A trained model to give away: a folder without its training data, and what to know about it.

    weights.safetensors   the weights
    settings.json         how the network is built, and how it was trained
    tokenizer.json        text to ids and back
    README.md             the model card

The folder is a run directory that cannot be trained on, so every command that writes titles takes
it, and no file in it is executed, imported or unpickled.  Of the training data it holds the names
of the files, without their folders, and their fingerprint.

The card is made of what the run knows: its settings, its log and, if there is a test set, its
scores beside the baselines.  What nobody has measured, it says is not measured.
After Mitchell et al. 2019, Model Cards for Model Reporting, https://arxiv.org/abs/1810.03993.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from kooler import __version__
from kooler.core.atomic import write_text
from kooler.seq2seq.comparison import SCORES, ScoreRow, comparison_sentence
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings

if TYPE_CHECKING:
    from kooler.seq2seq.measure import Measured

HEADER = "---\nlibrary_name: keras\ntags: [kooler, seq2seq, title-generation]\n---\n\n"
NOT_MEASURED = "**Not measured on a test set**; `kooler export --test` would add a table here."


def export_run(
    run_directory: str | os.PathLike[str],
    output: str | os.PathLike[str],
    measured: Measured | None = None,
) -> None:
    """Writes the model of a run, and its card, into a folder of its own.

    Args:
        run_directory: The run.
        output: The folder; missing or empty.
        measured: What `measure` found on a test set, for the card.

    Raises:
        ValueError: If the run has no weights, or there is something in `output` already.

    Example:
        >>> export_run("runs/first", "model", measure("runs/first", ["test.tsv"]))
    """
    run, folder = RunDirectory(run_directory), Path(output)
    arrays, facts = run.weights()
    settings, data = run.settings(), _without_folders(run.data())
    run.tokenizer()  # a damaged one is told before anything is written
    check_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = RunDirectory(folder)
    shutil.copyfile(run.weights_path, model.weights_path)
    shutil.copyfile(run.tokenizer_path, model.tokenizer_path)
    if settings.teacher:
        settings = replace(settings, teacher=PurePath(settings.teacher).name)
    model.keep_settings(settings, data)
    count = sum(int(array.size) for array in arrays.values())
    name = folder.resolve().name
    card = _card(name, count, settings, data, _evaluation(run, facts), measured)
    write_text(folder / "README.md", HEADER + card)


def check_empty(folder: Path) -> None:
    """Raises ValueError if there is something at the place of the folder already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"`{folder}` must be missing or an empty folder, received one that is in use. "
            "Choose another place."
        )


def _card(
    name: str,
    count: int,
    settings: Settings,
    data: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    measured: Measured | None,
) -> str:
    parts = [
        f"# {name}",
        f"Writes titles for texts. {count:,} weights, made with kooler {__version__}.",
        "## Use",
        "```sh\npip install 'kooler[jax,seq2seq]'\nkooler generate --run . < texts.txt\n```",
        "One text a line, one title a line; `torch` or `tensorflow` will do as well as `jax`.",
        "## How it was made",
        _table(["", ""], _making(settings, data, evaluation)),
        "Every setting is in `settings.json`.",
        "## Scores",
        _scores(evaluation, measured),
        "## Limits",
        _limits(settings),
        "## Licence",
        "*To be written by whoever publishes this: the licence of these weights. The training data "
        "have one of their own, which may bind them.*",
    ]
    return "\n\n".join(parts) + "\n"


def _making(
    settings: Settings, data: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> list[tuple[str, str]]:
    rows = [
        ("network", f"{settings.architecture}, {settings.size}; orders {_list(settings.orders)}"),
        ("tokens", f"{settings.tokenizer}, at most {settings.vocabulary_size:,}"),
        *((f"{kind} files", _files(data[kind])) for kind in ("train", "dev") if kind in data),
        ("seed", str(settings.seed)),
        ("backend", str(data.get("backend", "unknown"))),
    ]
    if evaluation:
        minutes = evaluation["seconds"] / 60
        rows += [("updates", f"{evaluation['update']:,}, in {minutes:.1f} min of training")]
    return rows


def _scores(evaluation: Mapping[str, Any], measured: Measured | None) -> str:
    parts = []
    if evaluation:
        parts.append(
            f"Dev set, by which these weights were chosen: {evaluation['loss']:.4f} nats a token, "
            f"{evaluation['exact']:.1f} % exact titles in a sample."
        )
    if measured is None:
        return "\n\n".join([*parts, NOT_MEASURED])
    rows = measured.rows
    heads = ["test set", *SCORES.values()]
    cells = [[row.name, *(f"{getattr(row.scores, name):.1f}" for name in SCORES)] for row in rows]
    about = f"{rows[0].scores.titles:,} titles; {rows[0].scores.bleu_signature}"
    return "\n\n".join([*parts, _table(heads, cells), about, _verdict(rows), *measured.notes])


def _verdict(rows: Sequence[ScoreRow]) -> str:
    baselines = _list([row.name for row in rows if row.kind == "baseline"])
    return f"{baselines} are baselines that learn nothing. {comparison_sentence(rows)}"


def _limits(settings: Settings) -> str:
    return (
        f"- It reads the first {settings.source_length} tokens of a text, and writes at most "
        f"{settings.target_length}.\n"
        "- It writes in the manner of its training titles, whatever the text is about.\n"
        "- It may state what the text does not say: names and numbers are to be checked.\n"
        "- The training data are not part of this folder, so it can be neither trained further nor "
        "measured beside the nearest training title."
    )


def _evaluation(run: RunDirectory, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The evaluation by which the weights were chosen, from the log."""
    chosen = (facts.get("update"), facts.get("averaged", []))
    looks = [record for record in run.log() if record["event"] == "dev"]
    fits = [look for look in looks if (look["update"], look["averaged"]) == chosen]
    return fits[-1] if fits else {}


def _without_folders(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the data, without the folders of the machine where it lay."""
    return {
        kind: {**part, "files": [PurePath(file).name for file in part["files"]]}
        if isinstance(part, dict) and "files" in part
        else part
        for kind, part in data.items()
    }


def _files(part: Mapping[str, Any]) -> str:
    return f"{_list(part['files'])} (fingerprint {str(part.get('fingerprint', ''))[:12]})"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
