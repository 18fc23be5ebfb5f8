"""Texts to write titles for, out of every form that a corpus may have."""

import gzip
import json

import pytest

from kooler.seq2seq.corpus import CorpusError
from kooler.seq2seq.source_texts import read_texts

TEXTS = ["one text", "another, with a comma", "最后"]


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def files(folder):
    objects = "".join(json.dumps({"source": text, "id": 1}) + "\n" for text in TEXTS)
    return {
        "txt": write(folder / "a.txt", "".join(f"{text}\n" for text in TEXTS)),
        "pairs": write(folder / "b.tsv", "".join(f"{text}\ta title\n" for text in TEXTS)),
        "sources": write(folder / "c.tsv", "".join(f"{text}\n" for text in TEXTS)),
        "jsonl": write(folder / "d.jsonl", objects),
        "gzip": write(folder / "e.jsonl.gz", gzip.compress(objects.encode())),
        "csv": write(folder / "f.csv", "n,source\n" + "".join(f'1,"{t}"\n' for t in TEXTS)),
    }


@pytest.mark.parametrize("kind", ["txt", "pairs", "sources", "jsonl", "gzip", "csv"])
def test_the_texts_of_every_form(kind, tmp_path):
    assert list(read_texts(files(tmp_path)[kind])) == TEXTS


def test_parquet_needs_one_column(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"source": TEXTS}), tmp_path / "a.parquet")

    assert list(read_texts(tmp_path / "a.parquet")) == TEXTS


def test_several_files_and_patterns_in_order(tmp_path):
    files(tmp_path)

    assert list(read_texts([str(tmp_path / "?.txt"), tmp_path / "f.csv"])) == TEXTS + TEXTS


def test_a_tab_belongs_to_the_text_where_there_are_only_texts(tmp_path):
    assert list(read_texts(write(tmp_path / "a.txt", "a\tb\n"))) == ["a\tb"]


def test_an_empty_text_keeps_its_place(tmp_path):
    assert list(read_texts(write(tmp_path / "a.txt", "a\n\nb\n"))) == ["a", "", "b"]
    assert list(read_texts(write(tmp_path / "a.jsonl", '{"source": ""}\n'))) == [""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"source": "a"}\n{"text": "b"}\n', r'a\.jsonl:2: the field "source" is mis'),
        ("a.jsonl", "[]\n", r"a\.jsonl:1: expected a JSON object, found a list\.$"),
        ("a.txt", b"a\n\xff\xfe\n", r"a\.txt:2: invalid UTF-8"),
        ("a.csv", "text\nb\n", r"a\.csv"),
        ("a.doc", "text", r"a\.doc: unknown suffix"),
    ],
    ids=["field", "list", "bytes", "header", "suffix"],
)
def test_what_cannot_be_read_is_named(name, content, message, tmp_path):
    with pytest.raises(CorpusError, match=message):
        list(read_texts(write(tmp_path / name, content)))
