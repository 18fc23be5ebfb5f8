"""What a synchronous model writes for its own training, and that nothing of it is lost."""

import os
import signal

import numpy as np
import pytest

from kooler.seq2seq import generate
from kooler.seq2seq.briefs import splits
from kooler.seq2seq.display import Silence
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.train import train
from kooler.seq2seq.two_pass import Rounds, decode_both
from tests.seq2seq.small_model import small_pair
from tests.seq2seq.small_run import write_pairs

SOURCES = [[6, 7, 8], [9, 9, 10, 13, 6, 7, 12], [11]]


def written(ids):
    return [row[row != 0].tolist() for row in ids]


@pytest.mark.compiles
def test_each_direction_is_written_alone_at_first():
    model = small_pair(14, layers=1)
    decoded = decode_both(model, SOURCES)

    for order in ("l2r", "r2l"):
        alone = generate(model, SOURCES, order=order, beam_size=1)
        assert written(decoded[f"decoded_{order}"]) == written(alone.ids[:, 0])


@pytest.mark.compiles
def test_and_beside_the_other_later():
    model = small_pair(14, layers=1)
    decoded = decode_both(model, SOURCES, together=True)
    found = generate(model, SOURCES, order="best", beam_size=2, n_best=2)

    for row, orders in enumerate(found.orders):
        assert sorted(orders) == ["l2r", "r2l"]
        for place, order in enumerate(orders):
            ids = decoded[f"decoded_{order}"][row : row + 1]
            assert written(ids) == written(found.ids[row, place : place + 1])


def rounds(folder, every=3):
    pairs = [(np.array([6, 7]), np.array([8])), (np.array([9]), np.array([6, 6]))]
    return Rounds(folder, {"train": pairs, "dev": pairs[:1]}, every)


def decode(rows):
    """For each source two rows of its length."""
    ids = np.zeros((len(rows), 4), "int32")
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    return {"decoded_l2r": ids, "decoded_r2l": ids + (ids > 0)}


def test_a_round_begins_after_every_so_many_updates(tmp_path):
    fresh = rounds(tmp_path)

    assert [update for update in range(10) if fresh.begins(update)] == [3, 6, 9]
    assert not fresh.is_second_pass
    fresh.begin(3, decode)
    assert fresh.is_second_pass


def test_the_other_streams_stand_beside_their_pairs(tmp_path):
    fresh = rounds(tmp_path)
    fresh.begin(3, decode)
    found = fresh.beside("train", np.array([1, 0, -1]), rows=4)

    assert found["decoded_l2r"].tolist() == [[9] + [0] * 7, [6, 7] + [0] * 6, [0] * 8, [0] * 8]
    assert found["decoded_r2l"].tolist() == [[10] + [0] * 7, [7, 8] + [0] * 6, [0] * 8, [0] * 8]


def test_a_training_takes_up_the_streams_that_it_had(tmp_path):
    first, again = rounds(tmp_path), rounds(tmp_path)
    first.begin(3, decode)
    again.take_up(3)
    assert not again.is_second_pass  # update 3 was the last without
    again.take_up(5)

    for name in first.beside("dev", [0], 1):
        np.testing.assert_array_equal(
            again.beside("dev", [0], 1)[name], first.beside("dev", [0], 1)[name]
        )
    with pytest.raises(ValueError, match=r"decoded-0002.* is missing, so the training cannot go"):
        again.take_up(8)


@pytest.mark.compiles
@pytest.mark.parametrize(
    "kind",
    [
        {"architecture": "synchronous", "decode_every": 1, "feedforward": 8},
        {"architecture": "recurrent", "leaky": True, "input_replacement": 0.3},
    ],
    ids=["between two rounds", "leaky, with replaced inputs"],
)
def test_a_training_that_is_stopped_goes_on_the_same(tmp_path, kind):
    for name, pairs in zip(("train", "dev"), splits(14, 2, 0, seed=1), strict=False):
        write_pairs(tmp_path / f"{name}.tsv", [(source[:30], title[:5]) for source, title in pairs])
    files = [tmp_path / "train.tsv"], [tmp_path / "dev.tsv"]
    settings = Settings(
        **kind, layers=1, width=8, heads=2, vocabulary_size=300, source_length=24,
        target_length=6, batch_tokens=240, maximum_shapes=1, warmup=2,
        learning_rate=0.01, updates=7, checkpoint_every=7, evaluate_every=7, patience=0, average=1,
        dropout=0.1,
    )  # fmt: skip

    class Notes(Silence):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

    class Interrupted(Silence):
        def step(self, step):
            if step.update == 5:
                os.kill(os.getpid(), signal.SIGINT)

    straight = Notes()
    train(settings, *files, tmp_path / "straight", display=straight)
    with pytest.raises(KeyboardInterrupt):
        train(settings, *files, tmp_path / "stopped", display=Interrupted())
    train(settings, (), (), tmp_path / "stopped", resume=True)

    runs = [RunDirectory(tmp_path / name) for name in ("straight", "stopped")]
    weights = [run.weights()[0] for run in runs]
    rounds = len(list(runs[0].data_path.glob("decoded-*")))
    assert rounds >= 2 if kind["architecture"] == "synchronous" else rounds == 0
    assert any("leak meter: l2r " in note for note in straight.notes)
    assert [record["loss"] for record in runs[0].log() if record["event"] == "dev"] == [
        record["loss"] for record in runs[1].log() if record["event"] == "dev"
    ]
    for name in weights[0]:
        np.testing.assert_array_equal(weights[0][name], weights[1][name], err_msg=name)
