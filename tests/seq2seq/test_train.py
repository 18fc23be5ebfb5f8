"""A training that is killed at any moment goes on to the very same weights.

Each training that must not share a process with another runs in its own, as on the command line.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kooler.seq2seq.briefs import splits
from kooler.seq2seq.display import Silence
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train
from kooler.seq2seq.writer import Title, Writer
from tests.seq2seq.full_disk import file_size_limit

SETTINGS = {
    "layers": 1, "width": 8, "heads": 2, "feedforward": 8, "dropout": 0.2, "order_sampling": "one",
    "vocabulary_size": 300, "source_length": 40, "target_length": 40, "batch_tokens": 320,
    "maximum_shapes": 1, "warmup": 4, "weight_decay": 0.01, "learning_rate": 0.01,
    "updates": 14, "checkpoint_every": 4, "evaluate_every": 6, "patience": 0, "average": 3,
    "seed": 7,
}  # fmt: skip

DRIVER = """
import json, os, signal, sys
from kooler.seq2seq.backend import prepare_process
prepare_process(os.environ["KERAS_BACKEND"])
from kooler.seq2seq.display import Silence
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train

settings, files, runs = json.loads(sys.argv[1])

class Display(Silence):
    def __init__(self, kill_at):
        self.kill_at = kill_at

    def step(self, step):
        if step.update == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

for run, resume, kill_at in runs:
    train(Settings(**settings), *files, run, resume=resume, display=Display(kill_at))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, pairs in zip(("train", "dev"), splits(40, 6, 0, seed=1), strict=False):
        lines = (f"{pair.source[:60]}\t{pair.target[:30]}\n" for pair in pairs)
        (folder / f"{name}.tsv").write_text("".join(lines), "utf-8")
    return [str(folder / "train.tsv")], [str(folder / "dev.tsv")]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """As many threads as the machine has, and JAX may remember what it compiled."""
    own = {name: value for name, value in os.environ.items() if "THREADS" not in name}
    return own | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture
def without_computing(monkeypatch):
    """Trainings at once: weights count updates, the losses are functions of that number."""
    script = SimpleNamespace(loss=lambda update: 1.0, dev_loss=lambda update: 100 - update)

    def train_on_batch(model, batch, **options):
        model.optimizer.iterations.assign_add(1)
        update = int(model.optimizer.iterations)
        for weight in model.weights:
            weight.assign(np.full(weight.shape, update, "float32"))
        return {"loss": script.loss(update)}

    def test_on_batch(model, batch, **options):
        loss = script.dev_loss(round(float(np.mean(model.weights[0])), 2))
        return {f"nll_{order}": loss for order in model.orders}

    def write(writer, texts, **options):
        return [[Title(text[:5], 0.0, 0.0, "mid")] for text in texts]

    monkeypatch.setattr(Seq2Seq, "train_on_batch", train_on_batch)
    monkeypatch.setattr(Seq2Seq, "test_on_batch", test_on_batch)
    monkeypatch.setattr(Writer, "write", write)
    return script


def test_killed_and_resumed_is_bit_for_bit_the_same(files, tmp_path, environment):
    straight, killed = str(tmp_path / "straight"), str(tmp_path / "killed")

    whole, cut, rest = (straight, False, None), (killed, False, 7), (killed, True, None)
    assert train_apart(files, environment, whole, cut) == -signal.SIGKILL
    assert RunDirectory(killed).checkpoints() == [4]
    assert train_apart(files, environment, rest) == 0

    assert_same_run(RunDirectory(straight), RunDirectory(killed))


def test_ctrl_c_writes_a_checkpoint_and_changes_nothing(files, tmp_path, without_computing):
    class Interrupted(Silence):
        def step(self, step):
            if step.update == 13:  # a checkpoint here must stay out of the average
                os.kill(os.getpid(), signal.SIGINT)

    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    settings = Settings(**SETTINGS)
    train(settings, *files, straight)

    with pytest.raises(KeyboardInterrupt):
        train(settings, *files, stopped, display=Interrupted())
    assert RunDirectory(stopped).checkpoints() == [8, 12, 13]
    train(settings, (), (), stopped, resume=True)

    assert_same_run(RunDirectory(straight), RunDirectory(stopped))


def test_the_dev_loss_is_the_mean_of_all_tokens(files, tmp_path, without_computing, monkeypatch):
    seen = []

    def test_on_batch(model, pairs, **options):
        present = pairs["source"].any(axis=1)
        tokens = (pairs["target"][present] != 0).sum() + present.sum()
        seen.append((float(len(seen) + 1), int(tokens)))
        return {f"nll_{order}": seen[-1][0] for order in model.orders}

    monkeypatch.setattr(Seq2Seq, "test_on_batch", test_on_batch)
    settings = Settings(**SETTINGS | {"updates": 1, "average": 1})

    outcome = train(settings, *files, tmp_path)

    losses, tokens = zip(*seen, strict=True)
    assert len(seen) > 1
    np.testing.assert_allclose(outcome.dev_loss, np.average(losses, weights=tokens), rtol=1e-12)


def test_the_weights_to_use_are_the_best_on_the_dev_set(files, tmp_path, without_computing):
    without_computing.dev_loss = {6: 3.0, 12: 2.0, 14: 2.5, 11.33: 2.4}.get

    outcome = train(Settings(**SETTINGS), *files, tmp_path)

    arrays, facts = RunDirectory(tmp_path).weights()
    assert outcome == (14, 2.0, 0.0, "update 14 was the last one planned")
    assert facts == {"update": 12, "dev_loss": 2.0, "averaged": []}
    assert (arrays["sides"] == 12).all()


def test_the_average_of_the_last_checkpoints_is_taken_if_it_is_better(
    files, tmp_path, without_computing
):
    without_computing.dev_loss = {6: 3.0, 12: 2.0, 14: 2.5, 11.33: 1.5}.get

    assert train(Settings(**SETTINGS), *files, tmp_path).dev_loss == 1.5

    arrays, facts = RunDirectory(tmp_path).weights()
    assert facts["averaged"] == [8, 12, 14]
    np.testing.assert_allclose(arrays["sides"], 34 / 3, rtol=1e-6)


def test_patience_ends_a_training_that_does_not_get_better(files, tmp_path, without_computing):
    without_computing.dev_loss = {2: 3.0, 4: 2.0, 6: 2.0, 8: 2.1, 10: 1.0}.get
    settings = Settings(**{**SETTINGS, "evaluate_every": 2, "patience": 2, "average": 1})

    outcome = train(settings, *files, tmp_path)

    assert outcome.update == 8
    assert outcome.reason == "the dev loss has not improved in 2 evaluations"


def test_a_time_limit_ends_a_training(files, tmp_path, without_computing):
    settings = Settings(**{**SETTINGS, "minutes": 1e-9, "average": 1})

    outcome = train(settings, *files, tmp_path)

    assert outcome.update == 1
    assert outcome.reason == "the time limit of 1e-09 min is over"
    assert RunDirectory(tmp_path).checkpoints() == [1]


@pytest.mark.parametrize(
    "loss",
    [float("nan"), float("inf")],
)
def test_a_training_that_diverges_keeps_its_last_checkpoint(
    files, tmp_path, without_computing, loss
):
    without_computing.loss = lambda update: loss if update == 9 else 1.0

    with pytest.raises(FloatingPointError, match=f"the loss became {loss} at update 9") as error:
        train(Settings(**SETTINGS), *files, tmp_path)

    assert "The checkpoint of update 8 is kept. Start a fresh run with a lower" in str(error.value)
    assert RunDirectory(tmp_path).checkpoints() == [4, 8]


def test_weights_that_are_not_finite_never_get_into_a_checkpoint(
    files, tmp_path, without_computing, monkeypatch
):
    computed = Seq2Seq.train_on_batch

    def broken(model, batch, **options):
        logs = computed(model, batch, **options)
        if int(model.optimizer.iterations) == 8:
            model.weights[0].assign(np.full(model.weights[0].shape, np.nan, "float32"))
        return logs

    monkeypatch.setattr(Seq2Seq, "train_on_batch", broken)

    with pytest.raises(FloatingPointError, match=r"`model/\w+` is no longer finite at update 8"):
        train(Settings(**SETTINGS), *files, tmp_path)
    assert RunDirectory(tmp_path).checkpoints() == [4]


def test_a_full_disk_costs_nothing_that_was_saved(files, tmp_path, without_computing):
    settings = Settings(**SETTINGS)

    class Full(Silence):
        def step(self, step):
            if step.update == 7:
                stack.enter_context(file_size_limit(20_000))

    with ExitStack() as stack, pytest.raises(OSError, match="could not be written"):
        train(settings, *files, tmp_path, display=Full())

    assert RunDirectory(tmp_path).checkpoints() == [4]
    assert train(settings, (), (), tmp_path, resume=True).update == 14


def test_a_finished_run_can_train_longer(files, tmp_path, without_computing):
    train(Settings(**SETTINGS), *files, tmp_path)

    outcome = train(Settings(**{**SETTINGS, "updates": 20}), (), (), tmp_path, resume=True)

    assert outcome.update == 20
    assert RunDirectory(tmp_path).settings().updates == 20


def test_the_log_tells_what_happened(files, tmp_path, without_computing):
    settings = Settings(**{**SETTINGS, "updates": 20, "evaluate_every": 20, "average": 1})

    train(settings, *files, tmp_path)

    updates, dev, end = RunDirectory(tmp_path).log()
    assert (updates["event"], updates["update"], updates["loss"]) == ("train", 20, 1.0)
    assert updates["learning_rate"] == pytest.approx(0.01 * (4 / 21) ** 0.5)
    assert {"event": "dev", "nll_mid": 80.0, "loss": 80.0, "exact": 0.0}.items() <= dev.items()
    assert (end["event"], end["reason"]) == ("end", "update 20 was the last one planned")


def test_what_a_resumed_run_must_not_differ_in(files, tmp_path, without_computing):
    train(Settings(**SETTINGS), *files, tmp_path)
    other = tmp_path / "other.tsv"
    other.write_text("another text\tanother title\n", "utf-8")

    with pytest.raises(ValueError, match=r"already holds a run. Continue it with --resume"):
        train(Settings(**SETTINGS), *files, tmp_path)
    with pytest.raises(ValueError, match=r"`dropout` was 0.2 when the run started"):
        train(Settings(**{**SETTINGS, "dropout": 0.5}), (), (), tmp_path, resume=True)
    with pytest.raises(
        ValueError, match=r"on other train files than .*other.tsv. Resume it withou"
    ):
        train(Settings(**SETTINGS), [other], (), tmp_path, resume=True)
    settings = json.loads((tmp_path / "settings.json").read_text("utf-8"))
    settings["data"]["backend"] = "abacus"
    (tmp_path / "settings.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(
        ValueError, match=r"started with KERAS_BACKEND=abacus, received .* the same"
    ):
        train(Settings(**SETTINGS), (), (), tmp_path, resume=True)


def test_a_resumed_run_without_a_checkpoint_says_that_it_starts_anew(
    files, tmp_path, without_computing
):
    class Interrupted(Silence):
        def step(self, step):
            raise KeyboardInterrupt

    class Notes(Silence):
        def note(self, text):
            notes.append(text)

    notes = []
    with pytest.raises(KeyboardInterrupt):
        train(Settings(**SETTINGS), *files, tmp_path, display=Interrupted())

    train(Settings(**SETTINGS), (), (), tmp_path, resume=True, display=Notes())
    train(Settings(**SETTINGS), (), (), tmp_path, resume=True, display=Notes())

    anew = f"`{tmp_path}` has no checkpoint yet, so the training starts at the beginning."
    assert notes.count(anew) == 1


def test_weights_that_were_removed_are_written_again(files, tmp_path, without_computing):
    without_computing.dev_loss = {6: 3.0, 12: 2.0, 14: 2.5, 11.33: 2.4}.get
    settings = Settings(**SETTINGS)
    train(settings, *files, tmp_path)
    RunDirectory(tmp_path).weights_path.unlink()

    train(settings, (), (), tmp_path, resume=True)

    assert RunDirectory(tmp_path).weights()[1]["dev_loss"] == 2.4


def test_only_the_look_at_the_average_is_named_so(files, tmp_path, without_computing):
    class Looks(Silence):
        def look(self, look):
            looks.append((look.update, look.averaged))

    looks = []
    train(Settings(**SETTINGS), *files, tmp_path, display=Looks())

    assert looks == [(6, 0), (12, 0), (14, 0), (14, 3)]


def test_a_training_needs_files(tmp_path):
    with pytest.raises(ValueError, match="at least one file of pairs with --train"):
        train(Settings(), (), ["dev.tsv"], tmp_path / "run")
    with pytest.raises(ValueError, match="no such file"):
        train(Settings(), ["absent.tsv"], ["dev.tsv"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def train_apart(files, environment, *runs):
    """Trains (directory, resume, kill at) in another process; its exit code."""
    arguments = json.dumps([SETTINGS, files, runs])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, arguments],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode <= 0, done.stderr
    return done.returncode


def assert_same_run(straight, broken):
    assert straight.checkpoints() == broken.checkpoints() == [8, 12, 14]
    for update in straight.checkpoints():
        expected, found = straight.checkpoint(update), broken.checkpoint(update)
        assert set(expected.arrays) == set(found.arrays)
        for name, array in expected.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
        assert {**found.facts, "seconds": 0} == {**expected.facts, "seconds": 0}
    assert straight.weights_path.read_bytes() == broken.weights_path.read_bytes()
    assert without_seconds(straight.log()) == without_seconds(broken.log())


def without_seconds(log):
    return [{**record, "seconds": 0} for record in log]
