"""The demo: news briefs made by rule, a model that learns to write their headlines, and the proof.

Nothing is downloaded.  The briefs are different for every seed, and those that are shown at the end
were not there when the model learned.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from kooler.seq2seq.briefs import splits
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.display import Display, make_display
from kooler.seq2seq.inside import growth_of
from kooler.seq2seq.measure import Measured, measure, table
from kooler.seq2seq.report_data import Growth, WrittenToken
from kooler.seq2seq.report_words import say, speaking
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.run_report import write_run_report
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train
from kooler.seq2seq.writer import Writer

PAIRS = {"train": 20_000, "dev": 200, "test": 500}
SHOWN = 3  # briefs
SETTINGS: dict[str, Any] = {  # small batches: many updates are what teaches it
    "layers": 2,
    "width": 128,
    "heads": 4,
    "feedforward": 256,
    "norm": "pre",
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "vocabulary_size": 1000,
    "source_length": 128,
    "target_length": 48,
    "pointer": True,
    "neighbours": True,
    "batch_tokens": 1024,
    "maximum_shapes": 2,
    "learning_rate": 2e-3,
    "warmup": 200,
    "schedule": "cosine",
    "updates": 1000,
    "evaluate_every": 200,
    "checkpoint_every": 250,
    "average": 1,
    "patience": 0,
}
WAYS = {
    "l2r": "left to right",
    "r2l": "right to left",
    "mid": "from both ends",
    "best": "best of all",
}


def demonstrate(
    language: str = "en",
    run_directory: Path | None = None,
    seed: int = 0,
    minutes: float | None = None,
    *,
    display: Display | None = None,
    stream: TextIO | None = None,
) -> Measured:
    """Makes briefs, trains, and shows what was learned.

    Args:
        language: "en" or "zh".
        run_directory: A fresh directory; None takes runs/demo, or the next one that is free.
        seed: Of the briefs and of the weights.
        minutes: The training takes no longer; None trains to the end of its schedule.
        display: Shows the training; None takes what suits stderr.
        stream: Gets the results; None is stdout.

    Returns:
        The scores of all orders and baselines.

    Raises:
        ValueError: If the language is unknown or the directory not fresh.
    """
    stream = stream or sys.stdout
    run = RunDirectory(run_directory or _free_directory())
    display = display or make_display()
    settings = Settings(**SETTINGS, seed=seed, minutes=minutes)
    files = _write_briefs(run, language, seed)
    train(settings, [files["train"]], [files["dev"]], run.path, display=display)
    return _show(run, files["test"], language, stream)


def _free_directory() -> Path:
    """runs/demo, or runs/demo-2, …: the first that is not there."""
    number = 1
    while True:
        path = Path("runs", f"demo-{number}" if number > 1 else "demo")
        if not path.exists():
            return path
        number += 1


def _write_briefs(run: RunDirectory, language: str, seed: int) -> dict[str, Path]:
    """Writes the three parts of the corpus into the run directory."""
    if run.path.exists() and any(run.path.iterdir()):
        raise ValueError(
            f"the demo needs a fresh run directory, but `{run.path}` is not empty. "
            "Choose another one with --run."
        )
    sizes = PAIRS["train"], PAIRS["dev"], PAIRS["test"]
    parts = dict(zip(PAIRS, splits(*sizes, seed=seed, language=language), strict=True))
    run.corpus_path.mkdir(parents=True)
    files = {}
    for name, pairs in parts.items():
        files[name] = run.corpus_path / f"{name}.tsv"
        lines = (f"{pair.source}\t{pair.target}\n" for pair in pairs)
        files[name].write_text("".join(lines), "utf-8")
    return files


def _show(run: RunDirectory, test: Path, language: str, stream: TextIO) -> Measured:
    """Measures on the unseen briefs, prints what was written, and makes the report."""
    measured = measure(run.path, [test])
    writer = Writer.load(run.path)
    pairs = measured.pairs
    print(f"Briefs that the model has never seen ({len(pairs):,} of them):", file=stream)
    for number, pair in enumerate(pairs[:SHOWN]):
        titles = {order: measured.titles[order][number] for order in WAYS}
        print("", *_example(pair, titles), sep="\n", file=stream)
    growth = growth_of(writer, pairs[0].source, measured.titles["best"][0])
    print("\nHow the first one grows from both ends:\n", file=stream)
    print(*(f"    {stage}" for stage in _stages(growth)), sep="\n", file=stream)
    print(f"\n{table(measured.rows)}\n", file=stream)
    with speaking(language):
        report = write_run_report(
            run,
            writer,
            measured,
            title=say("Headlines, written from both ends"),
            summary=say(
                "A small model, trained by `kooler demo` on news briefs that were made by rule."
            ),
            language=language,
        )
    print(f"Everything about it, with pictures: {report}", file=stream)
    print(f"More headlines: kooler generate --run {run.path} < briefs.txt", file=stream)
    return measured


def _example(pair: Pair, titles: dict[str, str]) -> list[str]:
    """A brief, its headline, and what was written for it."""
    lines = [f"  {pair.source}", f"    {'its headline':<16}{pair.target}"]
    for order, title in titles.items():
        mark = "✓" if title == pair.target else "✗"
        lines.append(f"  {mark} {WAYS[order]:<16}{title}")
    return lines


def _stages(growth: Growth) -> list[str]:
    """The title after each step, with dots where its middle is still missing."""
    stages = []
    left: list[WrittenToken] = []
    right: list[WrittenToken] = []
    for step in growth.steps:
        left += [token for token in step.left if not token.ends]
        right = [token for token in step.right if not token.ends] + right
        met = any(token.ends for token in (*step.left, *step.right))
        middle, end = ("", _text(right)) if met else (" … ", _text(right).lstrip())
        stages.append((_text(left) + middle + end).strip())
    return stages


def _text(tokens: Sequence[WrittenToken]) -> str:
    return "".join(token.text for token in tokens)
