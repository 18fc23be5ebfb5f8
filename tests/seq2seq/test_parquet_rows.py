"""Parquet rows are the pairs that were written, and what is wrong has a row."""

import sys

import pyarrow
import pytest
from pyarrow import parquet

from kooler.seq2seq.corpus import CorpusError, Pair, read_pairs

PAIRS = [Pair(f"text {i}", f"title {i * i}") for i in range(2_500)]


def write(path, sources, targets, **options):
    table = pyarrow.table({"id": range(len(sources)), "source": sources, "target": targets})
    parquet.write_table(table, path, **options)
    return path


def problem(path):
    with pytest.raises(CorpusError) as caught:
        list(read_pairs(path))
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize("groups", [10, 10_000])
@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_rows_are_pairs(tmp_path, groups, kind):
    columns = [pyarrow.array(column) for column in zip(*PAIRS, strict=True)]
    columns = [c.dictionary_encode() if kind == "dictionary" else c.cast(kind) for c in columns]
    path = write(tmp_path / "a.parquet", *columns, row_group_size=groups, compression="zstd")

    assert list(read_pairs(path)) == PAIRS


def test_a_row_without_text_is_named(tmp_path):
    path = write(tmp_path / "a.parquet", ["a", None, "c"], ["x", "y", "z"])

    assert problem(path).startswith(':2: the field "source" is null, not a string; --skip-bad')
    assert list(read_pairs(path, skip_bad_lines=True)) == [("a", "x"), ("c", "z")]


def test_columns_must_be_there_and_be_text(tmp_path):
    path = write(tmp_path / "a.parquet", [1, 2], ["x", "y"])
    parquet.write_table(
        pyarrow.table({"document": ["a"], "summary": ["b"]}), tmp_path / "b.parquet"
    )

    assert problem(path) == ": the column 'source' is int64, not text."
    assert problem(tmp_path / "b.parquet") == (
        ": there is no column 'source' in ['document', 'summary']; the columns must be named "
        "source and target."
    )


def test_what_is_no_parquet_is_told(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"source\ttarget\n")

    assert problem(path).startswith(":1: the Parquet data cannot be read here: ")
    whole = write(path, ["a"] * 1000, ["b"] * 1000).read_bytes()
    path.write_bytes(whole[:-20])
    assert problem(path).startswith(":1: the Parquet data cannot be read here: ")
    path.write_bytes(b"")
    assert problem(path).startswith(":1: the Parquet data cannot be read here: ")


def test_no_row_is_an_empty_file(tmp_path):
    path = write(tmp_path / "a.parquet", pyarrow.array([], "string"), pyarrow.array([], "string"))

    assert problem(path) == ": the file is empty; it must hold at least one pair."


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", ["a"], ["b"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert problem(path) == (
        ': Parquet needs a package that is not installed; pip install "kooler[formats]".'
    )
