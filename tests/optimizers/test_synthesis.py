"""Averages of another length, from snapshots."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kooler.optimizers import EMA, PowerEMA, WeightAverage
from kooler.optimizers.power_ema import gamma_of
from kooler.optimizers.synthesis import (
    Snapshot,
    load_snapshots,
    mixture,
    save_snapshots,
    snapshots_of,
    synthesize,
)

UPDATES = 4000


def training() -> np.ndarray:
    """A path as trainings have: it goes somewhere, ever slower, and trembles: [updates, 5]."""
    random = np.random.default_rng(4)
    time = np.arange(1, UPDATES + 1)[:, None] / UPDATES
    goal = 1 - np.exp(-3 * time * np.arange(1, 6))
    return goal + 0.05 * random.normal(size=(UPDATES, 5)).cumsum(0) / np.sqrt(UPDATES)


def average(path: np.ndarray, sigma_rel: float, until: int) -> np.ndarray:
    """The recursion, one update after the other."""
    gamma, result = gamma_of(sigma_rel), np.zeros(path.shape[1])
    for t in range(1, until + 1):
        result = result + (1 - (1 - 1 / t) ** (gamma + 1)) * (path[t - 1] - result)
    return result


def snapshots(path: np.ndarray, widths: Any = (0.05, 0.10), count: int = 8) -> list[Snapshot]:
    ends = [UPDATES * (i + 1) // count for i in range(count)]
    return [Snapshot(s, end, [average(path, s, end)]) for end in ends for s in widths]


@pytest.mark.parametrize("sigma_rel", [0.06, 0.08, 0.15])
def test_it_is_the_average_that_was_not_kept(sigma_rel: float) -> None:
    path = training()
    (found,) = synthesize(snapshots(path), sigma_rel)

    expected = average(path, sigma_rel, UPDATES)
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)


def test_a_stored_average_from_the_others() -> None:
    path = training()
    stored = snapshots(path, widths=(0.05, 0.10, 0.15))
    left_out = stored[-2]
    (found,) = synthesize([one for one in stored if one is not left_out], 0.10)

    expected = left_out.weights[0]
    assert np.linalg.norm(found - expected) <= 1e-3 * np.linalg.norm(expected)


def test_one_snapshot_of_that_width_is_the_average() -> None:
    assert mixture([(0.1, 50)], 0.1, 50).tolist() == [1.0]
    shares = mixture([(0.05, 50), (0.1, 25), (0.1, 50)], 0.1, 50)

    np.testing.assert_allclose(shares, [0, 0, 1], atol=1e-9)


@pytest.mark.parametrize("sigma_rel", [0.03, 0.07, 0.2])
def test_the_weights_sum_to_one(sigma_rel: float) -> None:
    profiles = [(sigma, end) for end in range(10, 90, 10) for sigma in (0.05, 0.1)]

    assert mixture(profiles, sigma_rel, 80).sum() == pytest.approx(1.0, abs=1e-12)


def test_later_snapshots_are_left_out() -> None:
    def at(update: int, value: float) -> Snapshot:
        return Snapshot(0.1, update, [np.full(2, value)])

    (found,) = synthesize([at(10, 3.0), at(20, np.nan)], 0.1, update=10)

    np.testing.assert_allclose(found, 3.0)


def test_snapshots_of_a_training_are_files(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    laws = {"a": PowerEMA(0.05), "b": PowerEMA(0.1), "other": EMA(0.5)}
    model.compile(WeightAverage("sgd", laws), loss="mse")
    for _ in range(2):
        model.train_on_batch(np.ones((4, 3)), np.ones((4, 1)))
        files = save_snapshots(model, tmp_path / "snapshots")
    loaded = load_snapshots(tmp_path / "snapshots")

    assert [file.name for file in files] == ["000000002-0.05.npz", "000000002-0.1.npz"]
    assert [(one.sigma_rel, one.update) for one in loaded] == [
        (0.05, 1),
        (0.1, 1),
        (0.05, 2),
        (0.1, 2),
    ]
    for ours, expected in zip(loaded[3].weights, snapshots_of(model)[1].weights, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert [one.shape for one in synthesize(loaded, 0.08)] == [(3, 1), (1,)]


def test_a_snapshot_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(WeightAverage("sgd", PowerEMA(0.05)), loss="mse")
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 1)))

    def full(*arguments: Any, **arrays: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space left"):
        save_snapshots(model, tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="net")
    model.compile(WeightAverage("sgd", PowerEMA(0.05)), loss="mse")

    with pytest.raises(ValueError, match=r"of 'net' keeps no power-function average"):
        snapshots_of(model)
    with pytest.raises(ValueError, match=r"no snapshots \(\*.npz\) in .* `save_snapshots"):
        load_snapshots(tmp_path)
    with pytest.raises(ValueError, match=r"None of the 1 snapshots was taken until update=5"):
        synthesize([Snapshot(0.1, 10, [np.ones(1)])], 0.1, update=5)
    with pytest.raises(ValueError, match=r"received sigma_rel=0.5"):
        synthesize([Snapshot(0.1, 10, [np.ones(1)])], 0.5)
