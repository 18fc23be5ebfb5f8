"""Averages of another length, made afterwards from snapshots of power-function averages.

A power-function average that ends at update T with exponent γ is the weights of the training under
the density p(τ) = (γ + 1)·τ^γ / T^(γ+1).  Snapshots of two such averages, taken now and then during
the training, are a few of these densities; a density of any other width is nearly a mixture of
them, and so is the average that belongs to it:

    a  =  Σ xᵢ·aᵢ,      where x makes ‖Σ xᵢ·pᵢ − p‖² smallest and Σ xᵢ = 1.

All that takes is the inner product of two densities.  For T ≤ U,

    ∫ p·q dτ = (γ + 1)·(δ + 1) / (γ + δ + 1) · (T/U)^δ / U,

where q has exponent δ and ends at U.  The weights xᵢ may be negative.

Karras et al. 2023, section 3.2, https://arxiv.org/abs/2312.02696.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from kooler.core import attach
from kooler.optimizers.power_ema import PowerEMA, gamma_of
from kooler.optimizers.weight_average import WeightAverage


@dataclass(frozen=True)
class Snapshot:
    """What a power-function average was after some updates.

    Args:
        sigma_rel: Its width.
        update: After how many updates.
        weights: An array for each averaged variable.
    """

    sigma_rel: float
    update: int
    weights: Sequence[np.ndarray]


def snapshots_of(model: Any) -> list[Snapshot]:
    """What the power-function averages of a model are now.

    Raises:
        ValueError: The model keeps none, or has not been trained.
    """
    found = []
    for wrapper in attach.wrappers_in(getattr(model, "optimizer", None)):
        if isinstance(wrapper, WeightAverage) and wrapper.built:
            found += _snapshots_in(wrapper)
    if found:
        return found
    raise ValueError(
        f"The optimizer of {model.name!r} keeps no power-function average of any update. Compile "
        "with WeightAverage(optimizer, {'narrow': PowerEMA(0.05), 'wide': PowerEMA(0.1)}), and "
        "train."
    )


def save_snapshots(model: Any, directory: str | os.PathLike[str]) -> list[Path]:
    """Writes the power-function averages of a model as files, each whole or not at all.

    Args:
        model: A model that is trained with them.
        directory: Where to; it is made if need be.

    Returns:
        The files, one for each average.

    Example:
        >>> keras.callbacks.LambdaCallback(
        ...     on_epoch_end=lambda epoch, logs: save_snapshots(model, "snapshots")
        ... )
    """
    snapshots = snapshots_of(model)
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(snapshot, folder) for snapshot in snapshots]


def load_snapshots(directory: str | os.PathLike[str]) -> list[Snapshot]:
    """Reads all snapshots of a folder, in the order of their updates.

    Raises:
        ValueError: There are none.
    """
    found = [_read(path) for path in sorted(Path(directory).glob("*.npz"))]
    if not found:
        raise ValueError(
            f"There are no snapshots (*.npz) in {str(directory)!r}. Write them during the training "
            "with `save_snapshots(model, directory)`."
        )
    return sorted(found, key=lambda one: (one.update, one.sigma_rel))


def synthesize(
    snapshots: Sequence[Snapshot], sigma_rel: float, *, update: int | None = None
) -> list[np.ndarray]:
    """The power-function average of another width.

    Args:
        snapshots: From one training: at least 8 are advisable, of two widths.
        sigma_rel: The width that is wanted.
        update: Where it is to end, the last snapshot by default; later ones are left out.

    Returns:
        An array for each averaged variable, in their order: `WeightAverage` averages the trainable
        variables of a model first, and then what its layers move.

    Example:
        >>> weights = synthesize(load_snapshots("snapshots"), 0.08)
    """
    used = [one for one in snapshots if update is None or one.update <= update]
    if not used:
        raise ValueError(
            f"None of the {len(snapshots)} snapshots was taken until update={update!r}, so there "
            "is nothing to make the average of. Give snapshots, or a later update."
        )
    end = max(one.update for one in used) if update is None else update
    shares = mixture([(one.sigma_rel, one.update) for one in used], sigma_rel, end)
    columns = zip(*(one.weights for one in used), strict=True)
    return [np.tensordot(shares, np.stack(column).astype("float64"), 1) for column in columns]


def mixture(profiles: Sequence[tuple[float, int]], sigma_rel: float, update: int) -> np.ndarray:
    """What each profile counts in the mixture that is nearest to another; sums to 1.

    Args:
        profiles: Width and last update of each.
        sigma_rel: The width of the other. update: Its last update.
    """
    exponents = np.array([gamma_of(sigma) for sigma, _ in profiles])
    ends = np.array([end for _, end in profiles], "float64") / update
    products = _inner(exponents[:, None], ends[:, None], exponents, ends)
    wanted = _inner(exponents, ends, np.array(gamma_of(sigma_rel)), np.array(1.0))
    ones = np.ones((len(ends), 1))
    system = np.block([[products, ones], [ones.T, np.zeros((1, 1))]])  # Lagrange: the sum is 1
    shares = np.linalg.lstsq(system, np.append(wanted, 1.0), rcond=1e-14)[0][:-1]
    return np.asarray(shares / shares.sum())


def _inner(gamma: np.ndarray, end: np.ndarray, delta: np.ndarray, until: np.ndarray) -> np.ndarray:
    """The inner product of two densities, which end at `end` and `until`."""
    later = np.maximum(end, until)
    exponent = np.where(end <= until, delta, gamma)  # of the one that ends later
    ratio = np.minimum(end, until) / later
    return np.asarray((gamma + 1) * (delta + 1) / (gamma + delta + 1) * ratio**exponent / later)


def _snapshots_in(wrapper: WeightAverage) -> list[Snapshot]:
    update = int(ops.convert_to_numpy(wrapper.updates))
    return [
        Snapshot(law.sigma_rel, update, [ops.convert_to_numpy(s) for s in slots])
        for law, slots in zip(wrapper.laws.values(), wrapper.average_slots.values(), strict=True)
        if isinstance(law, PowerEMA) and update > 0
    ]


def _write(snapshot: Snapshot, folder: Path) -> Path:
    path = folder / f"{snapshot.update:09d}-{snapshot.sigma_rel:g}.npz"
    part = path.with_name(f".{path.name}.{os.getpid()}")
    arrays: dict[str, Any] = {str(index): array for index, array in enumerate(snapshot.weights)}
    try:
        with part.open("wb") as file:
            np.savez(file, sigma_rel=snapshot.sigma_rel, update=snapshot.update, **arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return path


def _read(path: Path) -> Snapshot:
    with np.load(path) as arrays:
        weights = [arrays[str(index)] for index in range(len(arrays.files) - 2)]
        return Snapshot(float(arrays["sigma_rel"]), int(arrays["update"]), weights)
