"""A model to give away: the same titles, none of the data, and a card that says what is known."""

import io
import json
import sys
from pathlib import Path

import pytest

from kooler.seq2seq import backend
from kooler.seq2seq.cli import main
from kooler.seq2seq.comparison import ScoreRow
from kooler.seq2seq.evaluate import evaluate_titles
from kooler.seq2seq.measure import Measured
from kooler.seq2seq.model_card import NOT_MEASURED, export_run
from tests.seq2seq.small_run import small_run

DEV = {"event": "dev", "seconds": 90.0, "loss": 1.25, "exact": 31.0, "averaged": []}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = small_run(tmp_path_factory.mktemp("run"))
    made.append_log({**DEV, "update": made.weights()[1]["update"]})
    return made


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("given") / "away"
    export_run(run.path, folder)
    return folder


def test_the_folder_writes_the_titles_of_the_run(run, model, monkeypatch, capsys):
    monkeypatch.setattr(backend, "prepare_process", lambda name: None)
    written = []
    for path in (run.path, model):
        monkeypatch.setattr(sys, "stdin", io.StringIO("a b c\nc b a\n"))
        assert main(["generate", "--run", str(path), "--beam-size", "1", "--order", "l2r"]) == 0
        written.append(capsys.readouterr().out)

    assert written[0] == written[1]
    assert written[0].count("\n") == 2


def test_it_holds_four_files_and_no_folder_of_this_machine(run, model):
    text = "".join((model / name).read_text("utf-8") for name in ("settings.json", "README.md"))

    assert sorted(path.name for path in model.iterdir()) == [
        "README.md",
        "settings.json",
        "tokenizer.json",
        "weights.safetensors",
    ]
    assert str(run.path.parent) not in text
    assert json.loads((model / "settings.json").read_text())["data"]["train"]["files"]


def test_the_card_says_what_is_known_and_what_is_not(run, model):
    card = (model / "README.md").read_text("utf-8")

    assert card.startswith("---\nlibrary_name: keras\n")
    assert NOT_MEASURED in card
    assert "1.2500 nats a token, 31.0 % exact titles" in card
    assert "| updates | 1, in 1.5 min of training |" in card
    assert f"| seed | {run.settings().seed} |" in card
    assert "To be written by whoever publishes this" in card


def test_the_card_shows_scores_beside_baselines(run, tmp_path):
    right, wrong = (evaluate_titles(titles, ["a b c"]) for titles in (["a b c"], ["x y z"]))
    rows = [ScoreRow("l2r", "model", wrong), ScoreRow("lead", "baseline", right)]

    export_run(run.path, tmp_path / "model", Measured([], rows, {}, ["1 text was cut."]))

    card = (tmp_path / "model" / "README.md").read_text("utf-8")
    assert "| l2r | 0.0 |" in card
    assert "| lead | 100.0 |" in card
    assert "lead are baselines that learn nothing. l2r loses against lead in" in card
    assert NOT_MEASURED not in card


def test_a_folder_in_use_is_left_alone(run, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(ValueError, match=r"must be missing or an empty folder, received one that"):
        export_run(run.path, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run directory"):
        export_run(tmp_path / "absent", tmp_path / "model")

    assert not Path(tmp_path / "model").exists()
