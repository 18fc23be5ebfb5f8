r"""What does each part of bidirectional decoding bring?  One training after the other, restartable.

    python -m benchmarks.ablation --data FOLDER --rows A0,A4,A6b --seeds 0,1,2,3,4 --full   (a GPU)
    python -m benchmarks.ablation --data FOLDER --rows A0,A6b --seeds 0 --updates 500       (a CPU)
    KERAS_BACKEND=torch python -m benchmarks.ablation --data FOLDER --rows A0,A6b --full \
        --stop 3000 --average 4 --precision mixed_bfloat16             (a CPU with AMX, 90 minutes
        each: the published recipe, ended early)
    python -m benchmarks.ablation --data FOLDER --set arxiv_cs20k --tests test \
        --rows A0,A1,A5,A6l,A6b --updates 2000                           (titles, by `titles.py`)
    python -m benchmarks.ablation --out runs/ablation --table                       (only the table)

Every (training, seed) is a run directory below `--out`: one that is there is resumed, one that is
finished is only used.  Every (row, seed, test set) is a line of `results.jsonl`; a line that is
there is not computed again.  So the command can be killed, and given again, at any time.  The rows
are in `ablation_rows.py`; all have the same updates, tokens and network.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation_rows import ROWS, TRAININGS, Row, needed
from benchmarks.ablation_scores import lengths_table, scored, table
from benchmarks.data import data_set
from benchmarks.paired_bootstrap import paired_bootstrap
from benchmarks.titles import COMMON, RECIPES, spread
from benchmarks.translation import FULL, RECIPE, SHORT
from kooler.seq2seq.array_files import read_arrays
from kooler.seq2seq.corpus import Pair, Report, read_pairs
from kooler.seq2seq.display import make_display
from kooler.seq2seq.generation import generate
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.scoring import score
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.synchronous import DECODED
from kooler.seq2seq.train import train
from kooler.seq2seq.writer import Writer

BEAM = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="the folder of data sets; or KOOLER_DATA")
    parser.add_argument("--set", default="multi30k_bpe_revisit_en_de", help="the data set")
    parser.add_argument("--tests", default="test.2016,test.2017,test.coco")
    parser.add_argument("--rows", default="A0,A1,A4,A6l,A6m,A6b")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--out", default="runs/ablation", help="runs, results, hypotheses")
    parser.add_argument("--full", action="store_true", help="the published recipe")
    parser.add_argument("--updates", type=int, help="a schedule of so many, with less warm-up")
    parser.add_argument("--stop", type=int, help="the recipe's schedule, ended at this update")
    parser.add_argument("--average", type=int, help="so many checkpoints at the end")
    parser.add_argument("--precision", default="float32", help="or mixed_bfloat16")
    parser.add_argument("--decode-every", type=int, default=5, help="epochs, for A7 and A8")
    parser.add_argument("--limit", type=int, help="so many pairs of each test set only")
    parser.add_argument("--table", action="store_true", help="print the table, train nothing")
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    if not given.table:
        work(given, out)
    print(table(results(out), lambda *which: pooled(out, *which)))
    print("\nBLEU by words of the reference, and the difference to A0")
    print(lengths_table(results(out)))


def work(given: argparse.Namespace, out: Path) -> None:
    """Trains and measures whatever is missing."""
    folder, names = data_set(given.set, given.data), given.rows.split(",")
    for seed in map(int, given.seeds.split(",")):
        for name in names:  # what is trained is measured at once: the time may be over soon
            for training in needed([name]):
                if not (out / f"{training}-{seed}" / "finished").exists():
                    trained(training, seed, folder, out, given)
            for test in given.tests.split(","):
                if not any(key(record) == (name, seed, test) for record in results(out)):
                    file = spread(folder / f"{test}.tsv", given.limit, out / given.set)
                    measure(name, seed, test, list(read_pairs([file], report=Report())), out)


def trained(name: str, seed: int, folder: Path, out: Path, given: argparse.Namespace) -> None:
    """One training, to its end."""
    changes = dict(TRAININGS[name])
    files = [folder / "train.tsv"]
    if pseudo := changes.pop("pseudo", None):
        files.append(written_pairs(out / f"{pseudo}-{seed}", files[0], out / f"{name}-{seed}.tsv"))
    if "teacher" in changes:
        changes["teacher"] = str(out / f"{changes['teacher']}-{seed}")
    base = recipe(given.set, given.full)
    updates = given.updates or base["updates"]
    base |= {"updates": given.stop or updates, "warmup": min(base["warmup"], updates // 4)}
    base |= {"average": given.average} if given.average else {}
    every = max(min(250, updates), 1)
    base |= {"evaluate_every": every, "checkpoint_every": every, "patience": 0}
    base |= {"order_sampling": "one", "decode_every": given.decode_every, "seed": seed}
    base |= {"precision": given.precision}
    run, settings = out / f"{name}-{seed}", Settings(**(base | changes))
    resume = (run / "settings.json").exists()
    print(f"{'resuming' if resume else 'training'} {run}", flush=True)
    train(settings, files, [dev_file(folder, out)], run, resume=resume, display=make_display())
    (run / "finished").touch()


def recipe(name: str, full: bool) -> dict[str, Any]:
    """The settings of a data set, before a row changes them."""
    if name in RECIPES:
        return COMMON | RECIPES[name] | {"pointer": True}
    return RECIPE | (FULL if full else SHORT)


def dev_file(folder: Path, out: Path) -> Path:
    """What losses are looked at with: at most 2,000 pairs."""
    names = ("valid.tsv", "dev.tsv")
    file = next(folder / name for name in names if (folder / name).exists())
    return spread(file, 2000, out / folder.name)


def written_pairs(run: Path, truth: Path, path: Path) -> Path:
    """Pairs with what a synchronous model wrote for them in its last round, both directions."""
    directory = RunDirectory(run)
    rounds = sorted(directory.data_path.glob("decoded-*"))
    if not rounds:
        raise SystemExit(f"{run} has written nothing: lower --decode-every, or raise --updates.")
    arrays, _ = read_arrays(rounds[-1])
    tokenizer, writer = directory.tokenizer(), Writer.load(run)
    spool = RunDirectory(run).data_path / "train"
    sources = [pair.source for pair in _decoded(spool, tokenizer)]
    with path.open("w", encoding="utf-8") as file:
        for stream in DECODED:
            ends = np.cumsum(arrays[f"train/{stream}/lengths"])[:-1]
            for source, ids in zip(
                sources, np.split(arrays[f"train/{stream}/ids"], ends), strict=True
            ):
                if title := writer.tokenizer.decode(ids.tolist()).strip():
                    file.write(f"{source}\t{title}\n")
    return path


def _decoded(spool: Path, tokenizer: Any) -> list[Pair]:
    from kooler.seq2seq.corpora import decoded
    from kooler.seq2seq.spool import Spool

    pairs = Spool(spool)
    return decoded(pairs, tokenizer, range(len(pairs)))


def measure(name: str, seed: int, test: str, pairs: list[Pair], out: Path) -> None:
    """Writes a test set, scores it and adds a line to the results."""
    row = ROWS[name]
    writer = Writer.load(out / f"{row.training}-{seed}")
    began = time.perf_counter()
    titles = written(row, seed, writer, [pair.source for pair in pairs], out)
    seconds = time.perf_counter() - began
    read = writer.tokenizer.as_read
    words = [clean(read(title)) for title in titles]
    references = [clean(read(pair.target)) for pair in pairs]
    (out / f"{name}-{seed}-{test}.txt").write_text("".join(f"{w}\n" for w in words), "utf-8")
    (out / f"reference-{test}.txt").write_text("".join(f"{w}\n" for w in references), "utf-8")
    record = {
        "row": name,
        "seed": seed,
        "test": test,
        "text": row.text,
        **scored(words, references),
        "gain": pooled(out, name, test, [seed]),
        "parameters": writer.model.count_params(),
        "train_tokens_per_second": training_speed(out / f"{row.training}-{seed}", writer),
        "decode_tokens_per_second": sum(len(t.split()) for t in titles) / seconds,
    }
    with (out / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(f"{name} seed {seed} {test}: BLEU {record['bleu']:.2f}", flush=True)


def pooled(out: Path, name: str, test: str, seeds: list[int]) -> tuple[float, float] | None:
    """The gain in BLEU over A0 of the same seeds, and how often chance gives as much.

    None for A0 itself, and where it has not written the same sentences.
    """

    def lines(row: str) -> list[list[str]]:
        paths = [out / f"{row}-{seed}-{test}.txt" for seed in seeds]
        return [path.read_text("utf-8").splitlines() for path in paths if path.exists()]

    references = (out / f"reference-{test}.txt").read_text("utf-8").splitlines()
    system, baseline = lines(name), lines("A0")
    if name == "A0" or {len(texts) for texts in [*system, *baseline]} != {len(references)}:
        return None
    return paired_bootstrap(system, baseline, references) if len(baseline) == len(seeds) else None


def written(row: Row, seed: int, writer: Writer, sources: list[str], out: Path) -> list[str]:
    """The titles of a row."""
    if row.judge is None:
        options = {"order": row.order, "beam_size": BEAM}
        return [found[0].text for found in writer.write(sources, **options)]
    judge = Writer.load(out / f"{row.judge}-{seed}")
    rows = [writer.encode(source) for source in sources]
    found = generate(writer.model, rows, order=row.order, beam_size=BEAM, n_best=BEAM)
    joint = np.full(found.scores.shape, -np.inf)
    for place in range(BEAM):
        targets = [ids[ids != 0].tolist() for ids in found.ids[:, place]]
        other = score(judge.model, rows, targets, order=judge.model.orders[0])
        lengths = np.array([len(target) + 1 for target in targets])
        joint[:, place] = found.scores[:, place] + other / lengths
    best = found.ids[np.arange(len(rows)), joint.argmax(axis=1)]
    return [writer.tokenizer.decode(ids[ids != 0].tolist()) for ids in best]


def training_speed(run: Path, writer: Writer) -> float:
    """Target tokens a second, without padding: those of an epoch by the time of an update."""
    from kooler.seq2seq.spool import Spool

    records = [r for r in RunDirectory(run).log() if r["event"] in ("train", "dev")]
    if not records:
        return 0.0
    spool, settings = Spool(run / "data" / "train"), RunDirectory(run).settings()
    per_update = settings.batch_tokens * spool.target_lengths.sum() / spool.counts.tokens
    return float(per_update * records[-1]["update"] / max(records[-1]["seconds"], 1e-9))


def clean(text: str) -> str:
    """Words with one space between them, subwords joined."""
    return " ".join(text.replace("@@ ", "").removesuffix("@@").split())


def results(out: Path) -> list[dict[str, Any]]:
    """The lines so far."""
    path = out / "results.jsonl"
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )


def key(record: dict[str, Any]) -> tuple[str, int, str]:
    """What a line is about."""
    return record["row"], record["seed"], record["test"]


if __name__ == "__main__":
    main()
