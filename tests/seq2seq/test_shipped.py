"""The model in the package: there, small, described, and what a command without a run uses."""

import io
import json
import re
import sys

import pytest

from kooler.seq2seq import backend, stream
from kooler.seq2seq.cli import main
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.shipped import SHIPPED
from kooler.seq2seq.writer import Writer

LARGEST = 12e6  # bytes
ABSTRACT = (
    "We study the training of very deep neural networks for image classification. Deeper networks "
    "are harder to train. We propose a new architecture in which each layer learns a residual, "
    "and show that networks with residual connections are easier to optimize."
)


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_it_writes_titles_about_their_text(order):
    (title, *_) = Writer.load().write([ABSTRACT], order=order, beam_size=2)[0]

    words = re.findall("[a-z]+", title.text.lower())
    assert 2 <= len(words) <= 20
    assert {"deep", "neural", "networks", "residual", "image", "classification"} & set(words)
    assert title.text[0].isupper()


def test_it_is_small_and_has_its_card_and_its_log():
    files = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}

    assert set(files) == {
        *("weights.safetensors", "settings.json", "tokenizer.json", "README.md", "log.jsonl"),
    }
    assert sum(files.values()) < LARGEST


def test_the_card_the_log_and_the_weights_tell_of_one_training():
    run = RunDirectory(SHIPPED)
    facts, card = run.weights()[1], (SHIPPED / "README.md").read_text("utf-8")
    best = [one for one in run.log() if one["event"] == "dev" and one["loss"] == facts["dev_loss"]]

    assert best[-1]["update"] == facts["update"]
    assert f"{facts['update']:,}" in card
    assert "seed" in card
    assert json.loads(run.settings_path.read_text("utf-8"))["settings"]["seed"] == 0


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "--order", "l2r"],
        ["evaluate", "--test", "t.tsv"],
        ["explain", "--text", "a text"],
        ["serve", "--port", "0"],
    ],
    ids=lambda command: command[0],
)
def test_commands_without_a_run_use_it_and_say_so(command, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def stop(*given):
        raise ValueError("as far as Keras")

    monkeypatch.setattr(backend, "choose_backend", stop)

    assert main(command) == 2
    assert capsys.readouterr().err == (
        "kooler: using the model that comes with kooler, for abstracts in English (--run chooses "
        "another).\nkooler: error: as far as Keras\n"
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_who_types_texts_is_told_how_they_end(terminal, monkeypatch, capsys):
    monkeypatch.setattr(backend, "prepare_process", lambda name: None)
    monkeypatch.setattr(stream, "write_titles", lambda *given, **options: None)
    typed = io.StringIO("a text\n")
    typed.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdin", typed)

    assert main(["generate"]) == 0
    assert ("from the terminal, one a line; Ctrl-D ends." in capsys.readouterr().err) == terminal


def test_titles_are_written_with_it(monkeypatch, capsys):
    runs = []
    monkeypatch.setattr(backend, "prepare_process", lambda name: None)
    monkeypatch.setattr(stream, "write_titles", lambda run, *given, **options: runs.append(run))
    monkeypatch.setattr(sys, "stdin", io.StringIO("a text\n"))

    assert main(["generate"]) == 0
    assert runs == [SHIPPED]
