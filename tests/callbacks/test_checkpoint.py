"""Killed, continued, and not a bit different."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import Checkpoint, Evaluate
from kooler.callbacks.checkpoint_files import moments_in, read_facts
from kooler.data import Stream
from kooler.optimizers import EMA, Accumulate, Lookahead, WeightAverage

X = np.random.default_rng(0).normal(size=(14, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")
ADAM = keras.optimizers.Adam


class Rest(keras.utils.PyDataset):
    """The batches from a position on."""

    def __init__(self, position: int) -> None:
        super().__init__()
        self.position = position

    def __len__(self) -> int:
        return 7 - self.position

    def __getitem__(self, index: int) -> Any:
        first = 2 * (self.position + index)
        return X[first : first + 2], Y[first : first + 2]


class Data:
    """Seven batches of two, and a position."""

    num_batches = 7

    def __init__(self) -> None:
        self.restore({"epoch": 0, "position": 0})

    def state(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def restore(self, state: dict[str, int]) -> None:
        self.epoch, self.position = state["epoch"], state["position"]


class Kill(keras.callbacks.Callback):
    """Ends everything before a batch of the second epoch."""

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch = batch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if (self.epoch, batch) == (1, self.batch):
            raise InterruptedError


def model_with(optimizer: Any) -> Any:
    keras.utils.set_random_seed(2)
    layers = [keras.layers.BatchNormalization(), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer, loss="mse", metrics=["mae"])
    return model


def train(model: Any, checkpoint: Checkpoint, *others: Any, seed: int = 7) -> Any:
    keras.utils.set_random_seed(seed)  # another process has other random numbers
    data = Data()
    start = checkpoint.restore(model, data)
    rest = Rest(data.position)
    return model.fit(
        rest, epochs=2, verbose=0, shuffle=False, callbacks=[*others, checkpoint], **start
    )


def state(model: Any) -> list[np.ndarray]:
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(ops.convert_to_numpy(one)) for one in variables]


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


OPTIMIZERS = {
    "plain": lambda: ADAM(0.1),
    "a window of two": lambda: Accumulate(ADAM(0.1), 2, on_partial="carry"),
    "deep": lambda: WeightAverage(Lookahead(ADAM(0.1), 3), EMA(0.5)),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_killed_training_goes_on_to_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    whole, killed, resumed = (model_with(OPTIMIZERS[optimizer]()) for _ in range(3))
    expected = train(whole, Checkpoint(tmp_path / "whole", every=1)).history
    with pytest.raises(InterruptedError):
        train(killed, Checkpoint(tmp_path / "run", every=1), Kill(5))
    found = train(resumed, Checkpoint(tmp_path / "run", every=1), seed=99).history

    assert_same(state(resumed), state(whole))
    if keras.backend.backend() == "tensorflow":
        return  # it makes its metrics with the first batch, so they count the rest of the epoch
    assert {name: values[-1] for name, values in found.items()} == {
        name: values[-1] for name, values in expected.items()
    }


@pytest.mark.compiles
def test_between_two_epochs(tmp_path: Path) -> None:
    whole, killed, resumed = (model_with(ADAM(0.1)) for _ in range(3))
    train(whole, Checkpoint(tmp_path / "whole"))
    with pytest.raises(InterruptedError):
        train(killed, Checkpoint(tmp_path / "run"), Kill(0))
    train(resumed, Checkpoint(tmp_path / "run"), seed=99)

    assert_same(state(resumed), state(whole))


def test_within_an_accumulation_window(tmp_path: Path) -> None:
    class Save(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 5:
                checkpoint._data = checkpoint._position_after(batch)
                checkpoint.save(self.model, batch=batch)

    checkpoint = Checkpoint(tmp_path)
    whole, killed, resumed = (model_with(Accumulate(ADAM(0.1), 4)) for _ in range(3))
    train(whole, Checkpoint(tmp_path / "whole"))
    with pytest.raises(InterruptedError):
        train(killed, checkpoint, Save(), Kill(6))
    train(resumed, Checkpoint(tmp_path), seed=99)

    assert_same(state(resumed), state(whole))


def test_the_position_is_what_was_trained_on(tmp_path: Path) -> None:
    train(model_with(ADAM(0.1)), Checkpoint(tmp_path, every=3, keep=9))
    facts = [read_facts(path) for path in moments_in(tmp_path)]

    positions = [(one["updates"], one["epoch"], one["batch"], one["data"]) for one in facts]
    assert positions[:3] == [
        (3, 0, 3, {"epoch": 0, "position": 3}),
        (6, 0, 6, {"epoch": 0, "position": 6}),
        (7, 1, 0, {"epoch": 0, "position": 0}),  # this test's data does not count epochs
    ]


def test_a_batch_that_a_callback_takes_is_not_trained_on_after_resuming(tmp_path: Path) -> None:
    class Take(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch in (0, 1):
                next(stream)

    stream = Stream((X, Y), batch_size=2)
    checkpoint = Checkpoint(tmp_path, every=1)
    model = model_with(ADAM(0.1))
    start = checkpoint.restore(model, stream)
    callbacks = [Take(), checkpoint, Kill(3)]
    with pytest.raises(InterruptedError):
        model.fit(stream, epochs=2, verbose=0, callbacks=callbacks, **start)

    facts = read_facts(moments_in(tmp_path)[-1])
    assert (facts["epoch"], facts["batch"], facts["data"]["position"]) == (1, 3, 5)


def test_a_training_from_the_beginning_needs_a_directory_of_its_own(tmp_path: Path) -> None:
    train(model_with(ADAM(0.1)), Checkpoint(tmp_path))

    with pytest.raises(ValueError, match=r"is of update 14, and this training has taken 0"):
        model_with(ADAM(0.1)).fit(X, Y, verbose=0, callbacks=[Checkpoint(tmp_path)])


def test_the_newest_and_the_best_remain(tmp_path: Path) -> None:
    scores = iter([0.1, 0.9, 0.3, 0.4, 0.2])
    model = model_with(ADAM(0.1))
    measure = Evaluate(lambda model: next(scores), monitor="score", restore_best=False)
    checkpoint = Checkpoint(tmp_path, keep=2, best=("score", "max"))
    model.fit(X, Y, batch_size=7, epochs=5, verbose=0, callbacks=[measure, checkpoint])

    assert [int(path.stem) for path in moments_in(tmp_path)] == [4, 8, 10]
    Checkpoint(tmp_path).restore(model, which="best")
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 4


def test_no_number_is_never_the_best(tmp_path: Path) -> None:
    model, checkpoint = model_with(ADAM(0.1)), Checkpoint(tmp_path, best="loss")
    for score in (float("nan"), 0.5, float("nan")):
        model.fit(X[:2], Y[:2], verbose=0)
        checkpoint.save(model, score)

    assert checkpoint._find("best") == moments_in(tmp_path)[1]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".00000003.npz.77").write_bytes(b"half")
    train(model_with(ADAM(0.1)), Checkpoint(tmp_path))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000007.npz", "00000014.npz"]


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, model = Checkpoint(tmp_path, keep=1), model_with(ADAM(0.1))
    model.fit(X, Y, verbose=0, callbacks=[checkpoint])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"No space left.*Older ones are untouched"):
        model.fit(X, Y, verbose=0, callbacks=[checkpoint])

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_empty_directory_changes_nothing(tmp_path: Path) -> None:
    model = model_with(ADAM(0.1))
    before = [np.array(one) for one in model.get_weights()]

    assert Checkpoint(tmp_path / "new").restore(model) == {"initial_epoch": 0}
    assert_same(model.get_weights(), before)


def test_half_precision_comes_back(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])
    model.compile("sgd", "mse")
    before = [np.array(ops.convert_to_numpy(v), "float32") for v in model.weights]
    Checkpoint(tmp_path).save(model)
    for variable in model.weights:
        variable.assign(variable + 1)
    Checkpoint(tmp_path).restore(model)

    assert_same([np.array(ops.convert_to_numpy(v), "float32") for v in model.weights], before)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    model = model_with(ADAM(0.1))
    with pytest.raises(InterruptedError):
        train(model, Checkpoint(tmp_path, every=2), Kill(5))

    with pytest.raises(ValueError, match="nothing says how the data gets there"):
        Checkpoint(tmp_path).restore(model)
    with pytest.raises(ValueError, match="is of another optimizer: it has"):
        Checkpoint(tmp_path).restore(model_with(keras.optimizers.SGD(0.1)), Data())
    with pytest.raises(ValueError, match=r"received a tuple. Arrays can be wrapped"):
        Checkpoint(tmp_path).restore(model, (X, Y))
    with pytest.raises(ValueError, match="has a score"):
        Checkpoint(tmp_path).restore(model, Data(), which="best")
    with pytest.raises(ValueError, match="needs a compiled and built model"):
        Checkpoint(tmp_path).restore(keras.Sequential([keras.layers.Dense(1)]))
    moments_in(tmp_path)[-1].write_bytes(b"PK")
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        Checkpoint(tmp_path).restore(model, Data())


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "00000001.npz", facts=np.array(json.dumps({"format": 2})))
    with pytest.raises(ValueError, match="Install a newer kooler"):
        Checkpoint(tmp_path).restore(model_with(ADAM(0.1)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"keep": 0}, "`keep` must be a positive number"),
        ({"every": 1.5}, "`every` must be a positive number of updates"),
        ({"best": "val_accuracy"}, "`best` must name a loss or an error, or be a pair"),
    ],
)
def test_what_cannot_be_is_refused(arguments: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        Checkpoint(tmp_path, **arguments)
