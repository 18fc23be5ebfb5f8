"""Scores of a run: every order beside the baselines, in one table."""

import io
import sys

import pytest

from kooler.seq2seq.comparison import SCORES, ScoreRow
from kooler.seq2seq.corpus import read_pairs
from kooler.seq2seq.evaluate import evaluate_titles
from kooler.seq2seq.measure import measure, table
from kooler.seq2seq.model_card import export_run
from kooler.seq2seq.writer import Title, Writer
from tests.seq2seq.small_run import small_run, write_pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def calls(run, monkeypatch):
    """A writer that knows the title of every text in l2r, and nothing in other orders."""
    pairs = read_pairs([run.path.parent / "test.tsv"])
    titles = {pair.source: pair.target for pair in pairs}
    made = []

    def write(writer, texts, *, order, **options):
        made.append((order, options))
        writer.cut += 1
        written = [titles[text] if order == "l2r" else "none" for text in texts]
        return [[Title(text, 0.0, 0.0, order)] for text in written]

    monkeypatch.setattr(Writer, "write", write)
    return made


def test_the_test_set_may_come_from_standard_input(run, calls, monkeypatch):
    test = run.path.parent / "test.tsv"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(test.read_bytes())))

    measured = measure(run.path, ["-"], ["l2r"])

    assert measured.pairs == list(read_pairs(test))


def test_every_order_is_measured_beside_the_baselines(run, calls):
    measured = measure(run.path, [run.path.parent / "test.tsv"], beam_size=3)

    assert calls == [(order, {"beam_size": 3}) for order in ("l2r", "r2l", "mid", "best")]
    exact = {row.name: row.scores.exact for row in measured.rows if row.kind == "model"}
    assert exact == {"l2r": 100.0, "r2l": 0.0, "mid": 0.0, "best": 0.0}
    assert [row.name for row in measured.rows if row.kind == "baseline"] == [
        "lead", "first sentence", "best sentence", "nearest title",
    ]  # fmt: skip
    assert measured.titles["l2r"] == [pair.target for pair in measured.pairs]
    assert measured.notes == [
        "1 of 5 texts were longer than the 40 tokens that the model sees, and were cut."
    ]


def test_only_the_wanted_orders_are_measured(run, calls):
    measured = measure(run.path, [run.path.parent / "test.tsv"], ["mid"])

    assert [row.name for row in measured.rows if row.kind == "model"] == ["mid"]


def test_the_baselines_know_the_training_pairs_without_their_files(tmp_path, calls):
    run = small_run(tmp_path)
    training = list(read_pairs([tmp_path / "train.tsv"]))
    (tmp_path / "train.tsv").unlink()
    test = write_pairs(tmp_path / "test.tsv", [(training[7].source, "another title")])

    titles = measure(run.path, [test], ["mid"]).titles

    assert titles["nearest title"] == [training[7].target]


def test_without_training_pairs_one_baseline_is_left(tmp_path, calls):
    run = small_run(tmp_path)
    export_run(run.path, tmp_path / "model")

    measured = measure(tmp_path / "model", [run.path.parent / "test.tsv"], ["mid"])

    assert [row.name for row in measured.rows] == ["mid", "first sentence"]
    assert measured.notes[-1].startswith(f"`{tmp_path / 'model'}` is without its training pairs")


def test_capitals_do_not_count_where_small_letters_were_learned(tmp_path, calls):
    run = small_run(tmp_path, lower_case=True)
    pairs = read_pairs([tmp_path / "test.tsv"])
    large = [(pair.source, pair.target.upper()) for pair in pairs]
    test = write_pairs(tmp_path / "large.tsv", large)

    measured = measure(run.path, [test], ["l2r"])

    assert measured.rows[0].scores.exact == 100.0  # the writer of `calls` writes as in test.tsv
    assert measured.pairs[0].target == large[0][1]
    assert measured.notes[-1].startswith("Capitals were not compared")


def test_bad_lines_are_counted_when_they_may_be_left_out(run, calls, tmp_path):
    pairs = next(read_pairs([run.path.parent / "test.tsv"]))
    test = write_pairs(tmp_path / "some.tsv", [pairs, ("no title", "")])

    with pytest.raises(ValueError, match=r"some.tsv:2: the target is empty"):
        measure(run.path, [test], ["mid"])
    notes = measure(run.path, [test], ["mid"], skip_bad_lines=True).notes

    assert notes[0].endswith("some.tsv: skipped 1 of 2 lines (line 2: the target is empty)")


def test_the_table_is_aligned_text_with_the_verdict_below():
    scores = evaluate_titles(["a b c d e"], ["a b c d e"])
    low = scores._replace(**dict.fromkeys(SCORES, 5.25))

    lines = table([ScoreRow("l2r", "model", low), ScoreRow("lead", "baseline", scores)]).split("\n")

    assert lines[0] == "      exact %  ROUGE-1  ROUGE-2  ROUGE-L   BLEU   chrF  first 4  last 4"
    assert lines[1] == "l2r       5.2      5.2      5.2      5.2    5.2    5.2      5.2     5.2"
    assert lines[2] == "lead    100.0    100.0    100.0    100.0  100.0  100.0    100.0   100.0"
    assert lines[3:5] == ["", f"1 title; {scores.bleu_signature}"]
    assert lines[5].startswith("l2r loses against lead in ")
