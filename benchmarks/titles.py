r"""How good are titles of scientific abstracts?  Train on `arxiv_cs20k`, score beside baselines.

    python -m benchmarks.titles --data FOLDER --run runs/arxiv_cs20k
    python -m benchmarks.titles --data FOLDER --run runs/arxiv_cs20k --resume
    python -m benchmarks.titles --data FOLDER --set arxiv_cs --size small --layers 6 \
        --source-length 256 --batch-tokens 32768 --updates 30000                    (a GPU)

Prints ROUGE and the rest for each generation order, beside lead, sentences and nearest neighbour.
The defaults are a short run for two CPU cores. Texts and titles are lower-cased unless `--cased`:
abstracts write their words small and titles large, which hides from a small model what it may copy.
ROUGE knows no case.
"""

import argparse
import platform
import time
from pathlib import Path

from benchmarks.data import data_set
from kooler.core.atomic import write_text
from kooler.seq2seq.display import make_display
from kooler.seq2seq.measure import measure, table
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="the folder of data sets; or KOOLER_DATA")
    parser.add_argument("--set", default="arxiv_cs20k", help="the data set")
    parser.add_argument("--run", default="runs/arxiv_cs20k", help="the run directory")
    parser.add_argument("--resume", action="store_true", help="go on with an earlier run")
    parser.add_argument("--updates", type=int, default=6000, help="where the cosine ends")
    parser.add_argument("--minutes", type=float, help="train no longer than this")
    parser.add_argument("--size", default="tiny", help="tiny, small or base")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--source-length", type=int, default=128)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--cased", action="store_true", help="leave texts and titles as they are")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = data_set(given.set, given.data)
    folder = folder if given.cased else lower_cased(folder, Path(f"{given.run}-lower"))
    settings = Settings(
        size=given.size,
        norm="pre",
        dropout=0.1,
        copy_prior=True,
        layers=given.layers,
        source_length=given.source_length,
        target_length=40,
        vocabulary_size=4000,
        batch_tokens=given.batch_tokens,
        maximum_shapes=2,
        learning_rate=2e-3,
        warmup=300,
        schedule="cosine",
        updates=given.updates,
        minutes=given.minutes,
        evaluate_every=500,
        checkpoint_every=250,
        seed=given.seed,
    )
    began = time.monotonic()
    outcome = train(
        settings,
        [folder / "train.tsv"],
        [folder / "dev.tsv"],
        given.run,
        resume=given.resume,
        display=make_display(),
    )
    trained = time.monotonic()
    measured = measure(given.run, [folder / "test.tsv"], beam_size=4)
    print(f"{given.set}: {outcome.update:,} updates, {outcome.reason}; dev {outcome.dev_loss:.4f}")
    print(f"trained {trained - began:.0f} s, scored {time.monotonic() - trained:.0f} s", end="; ")
    print(f"{platform.machine()}, seed {given.seed}, size {given.size}")
    print(table(measured.rows))


def lower_cased(folder: Path, copy: Path) -> Path:
    """Writes a copy of a data set in lower case."""
    copy.mkdir(parents=True, exist_ok=True)
    for part in ("train", "dev", "test"):
        write_text(copy / f"{part}.tsv", (folder / f"{part}.tsv").read_text("utf-8").lower())
    return copy


if __name__ == "__main__":
    main()
