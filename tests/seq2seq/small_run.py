"""A run directory without a training: real files, a real tokenizer, weights drawn at random."""

from pathlib import Path
from typing import Any

import numpy as np

from kooler.seq2seq.briefs import splits
from kooler.seq2seq.corpora import describe, prepare
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.recipe import build_model
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.weights import arrays_of, named_weights

SETTINGS = {
    "layers": 1,
    "width": 8,
    "heads": 2,
    "feedforward": 8,
    "vocabulary_size": 300,
    "source_length": 40,
    "target_length": 8,
    "batch_tokens": 320,
    "maximum_shapes": 1,
}


def small_run(folder: Path, **settings: Any) -> RunDirectory:
    """Makes a run directory in `folder`, with train.tsv, dev.tsv and test.tsv beside it."""
    for name, pairs in zip(("train", "dev", "test"), splits(30, 4, 5, seed=1), strict=True):
        write_pairs(folder / f"{name}.tsv", [(s[:60], t[:9]) for s, t in pairs])
    chosen = Settings(**(SETTINGS | settings))
    untrained(chosen, [folder / "train.tsv"], [folder / "dev.tsv"], folder / "run")
    return RunDirectory(folder / "run")


def untrained(
    settings: Settings, train: list[Path], dev: list[Path], path: Path, **options: Any
) -> None:
    """Leaves what `train` leaves, without computing anything."""
    run = RunDirectory(path)
    data = {**describe(train, dev), "backend": "none"}
    with run.locked():
        run.begin(settings, data)
        corpora = prepare(run, settings, data, lambda text: None)
    model = build_model(settings, corpora.tokenizer.size)
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(generator.standard_normal(variable.shape))
    run.save_weights(arrays_of(named_weights(model)), {"update": 1})
    for update in (20, 40):
        losses = {f"nll_{order}": 60 / update for order in settings.orders}
        common = {"update": update, "seconds": 1.5 * update, "loss": 60 / update, **losses}
        run.append_log({"event": "train", "learning_rate": 1e-3, **common})
        run.append_log({"event": "dev", "exact": update, "title": "x", "averaged": [], **common})


def write_pairs(path: Path, pairs: list[Pair] | list[tuple[str, str]]) -> Path:
    """Writes pairs as TSV."""
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), "utf-8")
    return path
