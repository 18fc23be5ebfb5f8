"""The data of a run: made once, used again, and checked for changes."""

import io
import sys

import pytest

from kooler.seq2seq.corpora import describe, prepare, with_standard_input
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings
from tests.seq2seq.small_run import SETTINGS, write_pairs

PAIRS = [(f"the text of number {i} is here", f"title {i}") for i in range(20)]


@pytest.fixture
def started(tmp_path):
    train, dev = (write_pairs(tmp_path / f"{name}.tsv", PAIRS) for name in ("train", "dev"))
    run = RunDirectory(tmp_path / "run")
    data = describe([train], [dev])
    with run.locked():
        run.begin(Settings(**SETTINGS), data)
    return run, data, train


def test_files_become_batches_and_the_dev_pairs_come_back_as_text(started):
    run, data, _ = started
    told = []

    corpora = prepare(run, Settings(**SETTINGS), data, told.append)

    assert told[0] == "learning the vocabulary …"
    assert told[-1].startswith("20 pairs to learn from: ")
    assert corpora.dev_pairs(3) == PAIRS[:3]
    assert corpora.dev_pairs(99) == PAIRS
    assert sum((batch.indices >= 0).sum() for batch in corpora.dev_batches()) == 20
    ids = corpora.train[0]["target"][0]
    assert corpora.tokenizer.decode(ids.tolist()).startswith("title ")


def test_what_is_there_is_used_again_without_the_files(started):
    run, data, train = started
    first = prepare(run, Settings(**SETTINGS), data, lambda text: None)
    train.unlink()
    told = []

    again = prepare(run, Settings(**SETTINGS), data, told.append)

    assert again.tokenizer == first.tokenizer
    assert (again.train[7]["source"] == first.train[7]["source"]).all()
    assert "learning the vocabulary …" not in told


def test_files_that_changed_before_they_were_read_are_an_error(started):
    run, data, train = started
    write_pairs(train, PAIRS[1:])

    with pytest.raises(
        ValueError, match=r"train files of the run have changed .*train.tsv\). Rest"
    ):
        prepare(run, Settings(**SETTINGS), data, lambda text: None)


def test_what_does_not_fit_is_told(started):
    run, data, _ = started
    told = []

    prepare(run, Settings(**(SETTINGS | {"source_length": 3})), data, told.append)

    assert "train: 20 of 20 sources were longer than 3 tokens and cut" in told
    assert "dev: 20 of 20 sources were longer than 3 tokens and cut" in told


def test_bad_lines_are_an_error_or_told(tmp_path):
    file = write_pairs(tmp_path / "train.tsv", [*PAIRS, ("no title", "")])
    data = describe([file], [file])
    run = RunDirectory(tmp_path / "run")
    with run.locked():
        run.begin(Settings(**SETTINGS), data)

    with pytest.raises(ValueError, match=r"train.tsv:21: the target is empty"):
        prepare(run, Settings(**SETTINGS), data, lambda text: None)
    told = []
    prepare(run, Settings(**(SETTINGS | {"skip_bad_lines": True})), data, told.append)

    assert any("skipped 1 of 21 lines (line 21: the target is empty)" in line for line in told)


def test_a_run_remembers_absolute_paths(tmp_path, monkeypatch):
    write_pairs(tmp_path / "train.tsv", PAIRS)
    monkeypatch.chdir(tmp_path)

    data = describe(["train.tsv"], ["train.tsv"])

    assert data["train"]["files"] == [str(tmp_path / "train.tsv")]


def test_standard_input_is_kept_in_the_run_and_read_again_from_there(started, monkeypatch):
    _, _, dev = started
    run = RunDirectory(dev.parent / "other")
    text = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    data = describe(*with_standard_input(run, ["-"], [dev]))
    with run.locked():
        run.begin(Settings(**SETTINGS), data)
        corpora = prepare(run, Settings(**SETTINGS), data, lambda text: None)

    assert data["train"]["files"] == [str(run.corpus_path / "stdin.tsv")]
    assert data["train"]["fingerprint"] == data["dev"]["fingerprint"]
    assert len(corpora.dev) == len(PAIRS)


def test_standard_input_is_not_read_in_vain(started, monkeypatch):
    run, _, dev = started
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\tb\n")))

    with pytest.raises(ValueError, match="one file of pairs with --dev"):
        with_standard_input(run, ["-"], [])
    with pytest.raises(ValueError, match=r"none\.tsv: no such file"):
        with_standard_input(run, ["-"], ["none.tsv"])
    run.weights_path.touch()
    with pytest.raises(ValueError, match="already holds a run"):
        with_standard_input(run, ["-"], [dev])

    assert sys.stdin.read() == "a\tb\n"
