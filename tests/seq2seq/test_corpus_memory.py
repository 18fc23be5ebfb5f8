"""The way from a corpus to batches takes memory for its longest lines, not for all of them."""

import subprocess
import sys
from itertools import product

import pytest

FEW, MANY = 10_000, 100_000
# A million pairs may take 100 MB more than ten thousand; a share of the pairs, that share of it.
ALLOWED = 100 * 2**20 * (MANY - FEW) / (1_000_000 - FEW)

SCRIPT = """
import resource, sys
from kooler.seq2seq.batches import Batches
from kooler.seq2seq.corpus import corpus_fingerprint, read_pairs
from kooler.seq2seq.spool import Spool
from kooler.seq2seq.tokenizer import Tokenizer

corpus, folder = sys.argv[1:]
texts = (text for pair in read_pairs(corpus) for text in pair)
tokenizer = Tokenizer.train(texts, size=500)
spool = Spool.build(
    folder,
    read_pairs(corpus),
    tokenizer.encode_batch,
    fingerprint=corpus_fingerprint(corpus) + tokenizer.fingerprint,
    vocabulary_size=tokenizer.size,
    source_length=32,
    target_length=16,
)
batches = Batches(spool, batch_tokens=4096, seed=0)
for update in range(0, 2 * batches.updates_per_epoch, 1 + batches.updates_per_epoch // 20):
    batches[update]
print(len(spool), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


PARQUET = """
import sys
import pyarrow
from pyarrow import parquet
from kooler.seq2seq.corpus import read_pairs

source, path = sys.argv[1:]
columns = list(zip(*read_pairs(source)))
table = pyarrow.table({"source": columns[0], "target": columns[1]})
parquet.write_table(table, path, row_group_size=len(columns[0]))
"""

CSV = """
import csv, lzma, sys
from kooler.seq2seq.corpus import read_pairs

source, path = sys.argv[1:]
with lzma.open(path, "wt", newline="") as file:
    writer = csv.writer(file, quoting=csv.QUOTE_ALL)
    writer.writerows([("source", "target"), *read_pairs(source)])
"""


def peak(tmp_path, pairs, suffix=".tsv", converted=""):
    """The largest memory in bytes of a process that takes this many pairs all the way."""
    words = ["".join(letters) for letters in product("bdklmn", "aeiou", "rst", "aeo")]
    corpus = tmp_path / f"{pairs}.tsv"
    with corpus.open("w") as file:
        file.writelines(
            f"{words[i % 269]} {words[i % 263]} {words[i % 257]}\t{words[i % 251]}\n"
            for i in range(pairs)
        )
    if converted:
        source, corpus = corpus, tmp_path / f"{pairs}{suffix}"
        subprocess.run([sys.executable, "-c", converted, source, corpus], check=True)
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, corpus, tmp_path / f"{pairs}"],
        check=True,
        capture_output=True,
        text=True,
    )
    written, kilobytes = process.stdout.split()
    assert int(written) == pairs
    return int(kilobytes) * (1 if sys.platform == "darwin" else 1024)


def test_memory_does_not_follow_the_corpus(tmp_path):
    assert peak(tmp_path, MANY) - peak(tmp_path, FEW) < ALLOWED


@pytest.mark.slow
@pytest.mark.timeout(1500)  # a million pairs, also where other work runs
@pytest.mark.parametrize(("suffix", "converted"), [(".parquet", PARQUET), (".csv.xz", CSV)])
def test_memory_does_not_follow_other_files(tmp_path, suffix, converted):
    few, many = (peak(tmp_path, pairs, suffix, converted) for pairs in (FEW, 1_000_000))

    assert many - few < 100 * 2**20
