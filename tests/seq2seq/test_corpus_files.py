"""Names, folders, patterns and standard input."""

import io
import os
import sys
from pathlib import Path

import pytest

from kooler.seq2seq.corpus import CorpusError, corpus_fingerprint, read_pairs
from kooler.seq2seq.corpus_files import check_standard_input, corpus_files, keep_standard_input


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("shards/b.tsv", "shards/a.tsv.xz", "shards/deep/c.csv", "shards/_SUCCESS"):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Path(name).touch()


def given(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def refused(paths):
    with pytest.raises(CorpusError) as caught:
        corpus_files(paths)
    return str(caught.value)


def names(paths):
    return [str(path) for path in corpus_files(paths)]


def test_patterns_and_folders_give_files_by_name():
    assert names("shards/*.tsv*") == ["shards/a.tsv.xz", "shards/b.tsv"]
    assert names(["shards/**/*.csv", "shards/b.tsv"]) == ["shards/deep/c.csv", "shards/b.tsv"]
    assert names(str(Path("shards/*.tsv").absolute())) == [str(Path("shards/b.tsv").absolute())]
    Path("shards/deep/c.csv").unlink()
    Path("shards/deep").rmdir()
    assert names("shards") == ["shards/a.tsv.xz", "shards/b.tsv"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file():
    Path("a[1].tsv").touch()

    assert names("a[1].tsv") == ["a[1].tsv"]


def test_what_is_not_there_or_not_all_pairs_is_refused():
    assert refused("shards/*.json") == "shards/*.json: no file fits this pattern."
    assert refused("shards").startswith(
        "shards: not only pairs are in this folder, also the folder deep; name the files by a "
        "pattern, such as 'shards/*.parquet'."
    )
    Path("shards/README.md").touch()
    assert "also the file README.md" in refused("shards")
    Path("nothing").mkdir()
    assert refused("nothing") == "nothing: there is no file in this folder."
    assert refused("a.parquet.gz") == "a.parquet.gz: no such file."
    Path("a.parquet.gz").touch()
    assert "Parquet and Arrow are not read front to back; unpack the file to a.parquet." in refused(
        "a.parquet.gz"
    )
    assert refused("-") == "-: standard input cannot be read here; name a file."


@pytest.mark.skipif(os.name == "nt", reason="named pipes are of POSIX")
def test_a_named_pipe_is_refused_and_not_waited_for():
    os.mkfifo("pipe.tsv")

    assert refused("pipe.tsv") == (
        "pipe.tsv: is no plain file, so it cannot be read twice; pipe it to -."
    )


@pytest.mark.parametrize(("name", "file"), [("-", "stdin.tsv"), ("-.jsonl", "stdin.jsonl")])
def test_standard_input_becomes_a_file(monkeypatch, name, file):
    given(monkeypatch, b"a\tb\n")

    check_standard_input(["shards/b.tsv", name])
    kept = keep_standard_input(["shards/b.tsv", name], Path("run/corpus"))

    assert kept == ["shards/b.tsv", Path("run/corpus") / file]
    assert Path(kept[1]).read_bytes() == b"a\tb\n"


def test_a_pipe_that_breaks_leaves_what_was_there(monkeypatch):
    class Breaking(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError(28, "No space left on device")

    Path("run").mkdir()
    Path("run/stdin.tsv").write_text("old")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Breaking())))

    with pytest.raises(OSError, match="No space left"):
        keep_standard_input(["-"], Path("run"))

    assert [path.read_text() for path in Path("run").iterdir()] == ["old"]


def test_standard_input_is_read_once_and_not_from_a_keyboard(monkeypatch):
    given(monkeypatch, b"")
    with pytest.raises(CorpusError, match=r"^- and -\.csv: standard input can be read only once"):
        check_standard_input(["-", "-.csv"])
    with pytest.raises(CorpusError, match=r"^stdin\.doc: unknown suffix"):
        check_standard_input(["-.doc"])
    with pytest.raises(CorpusError, match=r"none\.tsv: no such file"):
        check_standard_input(["-", "none.tsv"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    with pytest.raises(CorpusError, match="standard input is a terminal; pipe pairs into it"):
        check_standard_input(["-"])


def test_shards_are_one_corpus():
    Path("shards/b.tsv").write_text("a\tb\n")
    Path("shards/c.csv").write_text("source,target\nc,d\n")

    assert list(read_pairs("shards/[bc].*")) == [("a", "b"), ("c", "d")]
    assert corpus_fingerprint("shards/[bc].*") == corpus_fingerprint(
        ["shards/b.tsv", "shards/c.csv"]
    )
