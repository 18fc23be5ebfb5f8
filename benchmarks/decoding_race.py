"""How fast does decoding run?  The same weights in kooler, CTranslate2 and Transformers.

    python -m benchmarks.decoding_race --run RUN --text test.tsv [--sentences 256] [--rounds 5]
    python -m benchmarks.decoding_race          (random weights, sentences of Multi30k's size)

One thread, one core, order `l2r`, length penalty 1, until K hypotheses have ended, in turns in one
process; every engine gets all sentences at once and sorts them itself.  A time is the median over
the rounds, by default of processor time, since the cores of most machines are shared.  Printed
beside it: which part of the best hypotheses is, token by token, that of CTranslate2 in float32.

`kerashub` is KerasHub's BART with the same sizes, random weights, and 14 tokens a sentence.
`kooler-shortlist` scores only the tokens that targets of the run's training pairs are made of.

Random weights know no end, so that they are given a tendency to end by a shift of the last bias.
"""

import argparse
import itertools
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

BATCHES, BEAMS = (64, 8, 1), (5, 1)
SHORT = "kooler-shortlist"
ENGINES = ("kooler", "ctranslate2", "ctranslate2-int8", "transformers", "kerashub", SHORT)
BASE = "ctranslate2"
KERASHUB_LENGTH = 14  # tokens; about the mean of Multi30k


def contestants(given: argparse.Namespace) -> tuple[dict, list[list[int]]]:
    """The engines by name, and the sentences."""
    from benchmarks.decoding_engines import (
        ctranslate2_engine,
        kerashub_engine,
        kooler_engine,
        transformers_engine,
    )
    from kooler.seq2seq.shortlist import written_tokens

    model, rows = from_run(given) if given.run else random_model(given.sentences)
    makers = {
        "kooler": lambda: kooler_engine(model, given.max_length),
        "ctranslate2": lambda: ctranslate2_engine(model, given.max_length, "float32"),
        "ctranslate2-int8": lambda: ctranslate2_engine(model, given.max_length, "int8"),
        "transformers": lambda: transformers_engine(model, given.max_length),
        "kerashub": lambda: kerashub_engine(model, KERASHUB_LENGTH),
        SHORT: lambda: kooler_engine(model, given.max_length, written_tokens(given.run)),
    }
    return {name: makers[name]() for name in given.engines}, rows


def from_run(given: argparse.Namespace) -> tuple:
    """A trained model and the sources of a file."""
    from kooler.seq2seq.writer import Writer

    writer = Writer.load(given.run)
    lines = Path(given.text).read_text("utf-8").splitlines()[: given.sentences]
    texts = [line.split("\t")[0].strip() for line in lines]
    return writer.model, [writer.tokenizer.encode(text) for text in texts]


def random_model(sentences: int) -> tuple:
    """Transformer-Tiny with 9,712 words, and sources of 5 to 25 tokens."""
    import keras
    import numpy as np

    from kooler.seq2seq import Seq2Seq

    keras.utils.set_random_seed(0)
    model = Seq2Seq(9712, size="tiny", orders=("l2r",), dropout=0.0)
    norm = model.decoder[-1].feedforward_norm
    norm.beta.assign(norm.beta + 1.5 * model.embeddings[1])
    random = np.random.default_rng(0)
    lengths = random.integers(5, 26, sentences)
    return model, [random.integers(6, 9712, length).tolist() for length in lengths]


def parser_of(description: str | None, batches: tuple[int, ...]) -> argparse.ArgumentParser:
    """The arguments that say what is decoded, and by whom."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", help="a run directory whose model to use; random if not given")
    parser.add_argument("--text", help="a file of sources, or of sources TAB targets")
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--max-length", type=int, default=80)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES[:4]))
    parser.add_argument("--batches", type=int, nargs="+", default=list(batches))
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """What was given; a run needs sentences."""
    given = parser.parse_args()
    if given.run and not given.text:
        parser.error("--run needs --text, the sentences to translate.")
    return given


def main() -> None:
    parser = parser_of(__doc__, BATCHES)
    parser.add_argument("--single", type=int, default=32, help="sentences where one runs at a time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=("processor", "wall"), default="processor")
    given = parsed(parser)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # before any backend starts
    import torch

    torch.set_num_threads(1)
    clock = time.process_time if given.clock == "processor" else time.perf_counter
    engines, rows = contestants(given)
    print(f"kooler on {os.environ['KERAS_BACKEND']}, {given.clock} time, {given.rounds} rounds")
    for batch, beam in itertools.product(given.batches, BEAMS):
        race(
            engines, rows[: given.single] if batch == 1 else rows, batch, beam, clock, given.rounds
        )


def race(engines: dict, rows: list, batch: int, beam: int, clock, rounds: int) -> None:
    """Prints one line for each engine."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    found = {name: engine(rows, beam, batch) for name, engine in engines.items()}  # compiles
    for _ in range(rounds):
        for name, engine in engines.items():
            began = clock()
            engine(rows, beam, batch)
            seconds[name].append(clock() - began)
    print(f"\nbatch {batch}, beam {beam}, {len(rows)} sentences", flush=True)
    base = statistics.median(seconds[BASE]) if BASE in seconds else float("nan")
    for name, times in seconds.items():
        middle = statistics.median(times)
        tokens = sum(len(ids) + 1 for ids in found[name])
        same = statistics.mean(
            one == other
            for one, other in zip(found[name], found.get(BASE, found[name]), strict=True)
        )
        print(
            f"  {name:17}{tokens / middle:9,.0f} tokens/s {1000 * middle / len(rows):8.1f} ms a "
            f"sentence   {base / middle:5.2f} times {BASE}   {100 * same:5.1f} % the same",
            flush=True,
        )


if __name__ == "__main__":
    main()
