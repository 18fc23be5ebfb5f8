"""How good is translation?  Multi30k English–German, in the form of a published result.

    python -m benchmarks.translation --data FOLDER --run runs/multi30k             (a short run)
    python -m benchmarks.translation --data FOLDER --run runs/multi30k --full      (a GPU)

Transformer-Tiny (4 + 4 layers, width 128, 2.6 M parameters) reaches 41.02 tokenised BLEU on
test2016 in Wu et al., "Good for Misconceived Reasons", 2021, https://arxiv.org/abs/2105.14462, with
8,000 updates of about 8k target tokens; `--full` is that recipe.  The data are its BPE files, `@@ `
is removed before scoring, and BLEU is sacrebleu's with `--tokenize none`.
"""

import argparse
import platform
import time

from benchmarks.data import data_set
from kooler.seq2seq.display import make_display
from kooler.seq2seq.measure import measure, table
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train

RECIPE = {
    "size": "tiny",
    "tokenizer": "words",
    "vocabulary_size": 10_000,
    "source_length": 80,
    "target_length": 80,
    "beta2": 0.98,
    "label_smoothing": 0.1,
    "clipnorm": 25.0,
    "maximum_shapes": 4,
}
FULL = {
    "dropout": 0.3,
    "batch_tokens": 16_384,
    "updates": 8_000,
    "schedule": "inverse_sqrt",
    "warmup": 2_000,
    "learning_rate": 5e-3,
    "average": 10,
}
SHORT = {
    "dropout": 0.1,
    "batch_tokens": 2_048,
    "updates": 4_000,
    "schedule": "cosine",
    "warmup": 400,
    "learning_rate": 3e-3,
    "average": 1,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="the folder of data sets; or KOOLER_DATA")
    parser.add_argument("--run", default="runs/multi30k", help="the run directory")
    parser.add_argument("--resume", action="store_true", help="go on with an earlier run")
    parser.add_argument("--full", action="store_true", help="the published recipe")
    parser.add_argument("--orders", default="l2r,r2l,mid")
    parser.add_argument("--minutes", type=float, help="train no longer than this")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = data_set("multi30k_bpe_revisit_en_de", given.data)
    every = 250
    settings = Settings(
        **RECIPE,
        **(FULL if given.full else SHORT),
        orders=given.orders,
        order_sampling="one",
        minutes=given.minutes,
        evaluate_every=every,
        checkpoint_every=every,
        seed=given.seed,
    )
    began = time.monotonic()
    outcome = train(
        settings,
        [folder / "train.tsv"],
        [folder / "valid.tsv"],
        given.run,
        resume=given.resume,
        display=make_display(),
    )
    print(f"{outcome.update:,} updates, {outcome.reason}; dev {outcome.dev_loss:.4f}")
    print(f"trained {time.monotonic() - began:.0f} s on {platform.machine()}, seed {given.seed}")
    for test in ("test.2016", "test.2017", "test.coco"):
        measured = measure(
            given.run, [folder / f"{test}.tsv"], tokenize="none", join_subwords=True, max_length=80
        )
        print(f"\n{test}\n{table(measured.rows)}")


if __name__ == "__main__":
    main()
