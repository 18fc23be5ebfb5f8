r"""The network of the series on made briefs: honest, leaky, and with inputs replaced.

    python -m benchmarks.recurrent --out runs/recurrent
    python -m benchmarks.recurrent --out runs/small --updates 300 --pairs 4000 --test 100

Trains each row, with equal updates and batches, and prints two tables: what each direction needs on
the dev set (the leak meter), and the titles of each order.  A row that is there is not trained
again; one that was stopped goes on.
"""

import argparse
from pathlib import Path
from typing import Any

from kooler.seq2seq.briefs import splits
from kooler.seq2seq.corpus import Pair, Report, read_pairs
from kooler.seq2seq.display import Display, make_display
from kooler.seq2seq.evaluate import evaluate_titles
from kooler.seq2seq.leak_meter import leak_meter
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train
from kooler.seq2seq.writer import Writer

COMMON: dict[str, Any] = {
    "architecture": "recurrent",
    "layers": 2,
    "width": 128,
    "heads": 4,
    "dropout": 0.0,
    "label_smoothing": 0.0,
    "copy_prior": True,
    "vocabulary_size": 1000,
    "source_length": 128,
    "target_length": 48,
    "batch_tokens": 2048,
    "maximum_shapes": 1,
    "learning_rate": 2e-3,
    "warmup": 100,
    "schedule": "cosine",
    "average": 1,
    "patience": 0,
}
ROWS: dict[str, dict[str, Any]] = {
    "honest": {},
    "leaky": {"leaky": True},
    "leaky, replaced": {"leaky": True, "input_replacement": 0.3},
    "honest, replaced": {"input_replacement": 0.3},
}
WAYS: dict[bool, Any] = {
    False: (("l2r", {}), ("r2l", {}), ("best", {})),
    True: (("best", {"partners": "rank"}), ("best", {"partners": "all"})),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, help="where the runs are")
    parser.add_argument("--rows", default="0,1,2,3", help="numbers of rows")
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=20000)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--width", type=int, default=COMMON["width"])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(given.out)
    files = corpus(folder / "corpus", given.pairs, given.test, given.seed)
    changes = {"updates": given.updates, "width": given.width, "seed": given.seed}
    every = {"evaluate_every": max(given.updates // 8, 1), "checkpoint_every": given.updates}
    chosen = [list(ROWS)[int(number)] for number in given.rows.split(",")]
    for name in chosen:
        settings = Settings(**{**COMMON, **changes, **every, **ROWS[name]})
        learn(run_of(folder, name), settings, files, make_display())
    print(f"{'dev, nats a token':<20}{'l2r':>8}{'r2l':>8}{'sum':>8}{'open':>8}{'shown':>8}")
    for name in chosen:
        for look in [r for r in RunDirectory(run_of(folder, name)).log() if r["event"] == "dev"]:
            needs(name, look)
    print(f"\n{'titles':<20}{'order':<12}{'exact %':>8}{'BLEU':>8}{'first 4':>8}{'last 4':>8}")
    for name in chosen:
        titles(name, run_of(folder, name), list(read_pairs([files["test"]], report=Report())))


def run_of(folder: Path, name: str) -> Path:
    return folder / name.replace(", ", "-")


def corpus(folder: Path, pairs: int, test: int, seed: int) -> dict[str, Path]:
    """Three files of briefs."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    parts = splits(pairs, 200, test, seed=seed)
    for name, part in zip(("train", "dev", "test"), parts, strict=True):
        files[name] = folder / f"{name}.tsv"
        lines = (f"{pair.source}\t{pair.target}\n" for pair in part)
        files[name].write_text("".join(lines), "utf-8")
    return files


def learn(path: Path, settings: Settings, files: dict[str, Path], shown: Display) -> None:
    """Trains a row, or what is left of it."""
    run = RunDirectory(path)
    if run.settings_path.exists() and any(r["event"] == "end" for r in run.log()):
        return
    resume = run.settings_path.exists()
    paths = ([], []) if resume else ([files["train"]], [files["dev"]])
    train(settings, *paths, path, resume=resume, display=shown)


def needs(name: str, look: dict[str, Any]) -> None:
    """What each direction needs, at one look at the dev set."""
    left, right, early, late = (look[f"nll_{part}"] for part in ("l2r", "r2l", "open", "shown"))
    warning = "  leak" if leak_meter(look).leaks else ""
    numbers = "".join(f"{value:>8.2f}" for value in (left, right, left + right, early, late))
    print(f"{name:<20}{numbers}  after {look['update']}{warning}")


def titles(name: str, run: Path, test: list[Pair]) -> None:
    """How good the titles of each order are."""
    writer = Writer.load(run)
    for order, options in WAYS["leaky" in ROWS[name]]:
        found = writer.write([pair.source for pair in test], order=order, **options)
        scores = evaluate_titles([best[0].text for best in found], [pair.target for pair in test])
        way = f"{order}, {options['partners']}" if options else order
        values = (scores.exact, scores.bleu, scores.first_tokens, scores.last_tokens)
        print(f"{name:<20}{way:<12}" + "".join(f"{value:>8.1f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
