r"""How good are titles of abstracts and articles?  Train on a data set, score beside baselines.

    python -m benchmarks.titles --data FOLDER --set arxiv_cs              the model that is shipped
    python -m benchmarks.titles --data FOLDER --set arxiv_cs --resume     after an interruption
    python -m benchmarks.titles --data FOLDER --set lctt_title --also csl_ts:test  and elsewhere
    python -m benchmarks.titles --data FOLDER --set lctt_title --copying prior
    python -m benchmarks.titles --data FOLDER --set arxiv_cs --pairs 5000 --updates 2500 \
        --evaluate-every 250                                           the learning curve
    python -m benchmarks.titles --data FOLDER --set arxiv_cs --size small --layers 6 \
        --source-length 256 --batch-tokens 32768 --updates 30000                    (a GPU)

Prints ROUGE and the rest for each generation order, beside lead, sentences and nearest neighbour.
The defaults are short runs for one CPU core. English is read in small letters: abstracts write
their words small and titles large, which hides from a small model what it may copy.
"""

import argparse
import platform
import time
from pathlib import Path
from typing import Any

from benchmarks.data import data_set
from kooler.core.atomic import write_text
from kooler.seq2seq.display import make_display
from kooler.seq2seq.measure import measure, table
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train

COMMON: dict[str, Any] = {
    "norm": "pre",
    "layers": 2,
    "target_length": 40,
    "batch_tokens": 2048,
    "maximum_shapes": 2,
    "schedule": "cosine",
    "checkpoint_every": 500,
    "patience": 0,
    "neighbours": True,
}
ENGLISH = {"lower_case": True, "vocabulary_size": 4000, "source_length": 128}
CHINESE = {"tokenizer": "characters", "lower_case": True, "vocabulary_size": 4000}
RECIPES: dict[str, dict[str, Any]] = {
    "arxiv_cs": {
        **ENGLISH,
        "dropout": 0.0,  # three epochs: nothing is seen often enough to be learned by heart
        "learning_rate": 4e-3,
        "warmup": 500,
        "updates": 22_000,
        "evaluate_every": 2000,
    },
    "arxiv_cs20k": {
        **ENGLISH,
        "learning_rate": 2e-3,
        "warmup": 300,
        "updates": 6000,
        "evaluate_every": 500,
    },
    "lctt_title": {
        **CHINESE,
        "source_length": 200,
        "dropout": 0.2,
        "learning_rate": 2e-3,
        "warmup": 300,
        "updates": 3000,
        "evaluate_every": 250,
    },
}
COPYING = ("pointer", "prior", "none")
OVERRIDES: dict[str, type] = {
    "size": str,
    "layers": int,
    "source_length": int,
    "batch_tokens": int,
    "updates": int,
    "evaluate_every": int,
    "minutes": float,
    "seed": int,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", help="the folder of data sets; or KOOLER_DATA")
    parser.add_argument("--set", default="arxiv_cs20k", choices=RECIPES, help="the data set")
    parser.add_argument("--run", help="the run directory; by default runs/ and the name of the set")
    parser.add_argument("--resume", action="store_true", help="go on with an earlier run")
    parser.add_argument("--pairs", type=int, help="learn from so many pairs; all if not given")
    parser.add_argument("--also", nargs="*", default=[], help="score on SET:PART as well")
    parser.add_argument("--copying", choices=COPYING, default="pointer", help="from the text")
    parser.add_argument("--alone", action="store_true", help="tokens without their neighbours")
    for name, kind in OVERRIDES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help="instead of the recipe")
    given = parser.parse_args()
    run = given.run or f"runs/{given.set}"
    folder = data_set(given.set, given.data)
    own = {name: value for name in OVERRIDES if (value := getattr(given, name)) is not None}
    copying = {"pointer": given.copying == "pointer", "copy_prior": given.copying == "prior"}
    if given.alone:
        own["neighbours"] = False
    settings = Settings(**{**COMMON, **RECIPES[given.set], **copying, **own})
    parts = Path(f"{run}-parts")
    train_file = spread(folder / "train.tsv", given.pairs, parts)
    began = time.monotonic()
    outcome = train(
        settings,
        [train_file],
        [spread(folder / "dev.tsv", 1000, parts)],
        run,
        resume=given.resume,
        display=make_display(),
    )
    print(f"{given.set}: {outcome.update:,} updates, {outcome.reason}; dev {outcome.dev_loss:.4f}")
    print(f"trained {time.monotonic() - began:.0f} s on {platform.machine()}: {settings}")
    for place in (f"{given.set}:test", *given.also):
        name, part = place.split(":")
        test = spread(data_set(name, given.data) / f"{part}.tsv", 1000, parts / name)
        print(f"\n{place}")
        print(table(measure(run, [test], beam_size=5).rows), flush=True)


def spread(file: Path, count: int | None, folder: Path) -> Path:
    """The file, or one with at most `count` of its lines, evenly spread over it."""
    with file.open(encoding="utf-8", newline="\n") as opened:
        lines = list(opened)
    if count is None or len(lines) <= count:
        return file
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / file.name, "".join(lines[:: -(-len(lines) // count)]))
    return folder / file.name


if __name__ == "__main__":
    main()
