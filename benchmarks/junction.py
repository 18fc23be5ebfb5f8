r"""What goes wrong where the halves of a title meet, and does joint scoring cure it?

    python -m benchmarks.junction --run runs/demo --test runs/demo/corpus/test.tsv
    python -m benchmarks.junction --run RUN --test FILE --limit 200 --beam-size 1

Prints, for each order, the share of titles whose middle holds tokens twice, or lacks tokens of the
reference (see `kooler/seq2seq/junction.py`).  `l2r` and `r2l` have no junction there: they are the
control.  `best` judges the candidates of all orders by all orders; `mid re-scored` lets only those
of `mid` stand, so that what is cured is cured by the scores alone.
"""

import argparse
from pathlib import Path

import numpy as np

from kooler.seq2seq.corpus import Report, read_pairs
from kooler.seq2seq.generation import generate
from kooler.seq2seq.junction import Tokens, junction_artefacts
from kooler.seq2seq.scoring import score
from kooler.seq2seq.writer import Writer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="a run directory")
    parser.add_argument("--test", required=True, help="a file of pairs")
    parser.add_argument("--limit", type=int, help="the first pairs only")
    parser.add_argument("--beam-size", type=int, default=5)
    given = parser.parse_args()
    writer = Writer.load(given.run)
    pairs = list(read_pairs([Path(given.test)], report=Report()))[: given.limit]
    sources = [writer.encode(pair.source) for pair in pairs]
    references = [writer.tokenizer.encode(pair.target) for pair in pairs]
    print(f"{len(pairs)} pairs, beam {given.beam_size}\n")
    print(f"{'':<16}{'repeated %':>11}{'missing %':>11}{'exact %':>9}")
    for name, titles in written(writer, sources, given.beam_size).items():
        found = junction_artefacts(titles, references)
        exact = 100 * np.mean([a == b for a, b in zip(titles, references, strict=True)])
        print(f"{name:<16}{found.repeated:>11.2f}{found.missing:>11.2f}{exact:>9.1f}")


def written(writer: Writer, sources: list[list[int]], beam_size: int) -> dict[str, list[Tokens]]:
    """The titles of each order."""
    model, titles = writer.model, {}
    for order in (*model.orders, "best"):
        found = generate(model, sources, order=order, beam_size=beam_size, n_best=beam_size)
        candidates = [[row[row != 0].tolist() for row in rows] for rows in found.ids]
        titles[order] = [rows[0] for rows in candidates]
        if order == "mid":
            titles["mid re-scored"] = rescored(writer, sources, candidates)
    return titles


def rescored(
    writer: Writer, sources: list[list[int]], candidates: list[list[list[int]]]
) -> list[Tokens]:
    """Of the candidates of `mid`, those that all orders together find best."""
    joint = np.zeros((len(sources), len(candidates[0])))
    for place in range(joint.shape[1]):
        targets = [rows[place] for rows in candidates]
        lengths = np.array([len(target) + 1 for target in targets])
        for order in writer.model.orders:
            joint[:, place] += score(writer.model, sources, targets, order=order) / lengths
    return [rows[best] for rows, best in zip(candidates, joint.argmax(axis=1), strict=True)]


if __name__ == "__main__":
    main()
