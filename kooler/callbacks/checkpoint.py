"""A training that can be killed at any moment, and goes on as if it had not been.

What the next batch changes must all be of one moment: weights and state of the model, with the
seeds of its dropout; everything in the optimizer, a half full accumulation window too; the metrics
that an epoch is adding up; PyTorch's random numbers; and the position of the data.  Then a training
that goes on from there sees the same batches and ends in the same bits as one that was never
interrupted.

    checkpoint = Checkpoint("run", every=500)
    model.fit(stream, epochs=10, callbacks=[checkpoint], **checkpoint.restore(model, stream))

The same two lines begin a training and continue it.  A moment lies between two batches; the data
may have been read ahead by then, so its position is counted by the batches that were trained on.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from kooler.callbacks.checkpoint_files import (
    Groups,
    moments_in,
    path_of,
    read_facts,
    read_moment,
    remove_parts,
    write_moment,
)
from kooler.callbacks.processes import is_first_process
from kooler.callbacks.random_state import random_state, set_random_state
from kooler.callbacks.updates import Every, check_every, updates_taken
from kooler.core import compat

WHICH = ("latest", "best")


class Checkpoint(keras.callbacks.Callback):
    """Saves model, optimizer and data position together, at the end of each epoch and in between.

    Args:
        directory: Where the checkpoints lie; made if need be.
        every: Updates between two checkpoints within an epoch; None: only at its end.
        keep: How many of the newest remain; the best one does in any case.
        best: A name in the logs of an epoch, where lower is better if it names a loss or an error;
            else a pair such as ("val_accuracy", "max").

    Example:
        >>> checkpoint = Checkpoint("run", every=500, best="val_loss")
        >>> model.fit(stream, epochs=10, callbacks=[checkpoint],
        ...           **checkpoint.restore(model, stream))
    """

    async_safe = True  # nothing happens after a batch, so Keras need not wait for us

    def __init__(
        self,
        directory: str | Path,
        *,
        every: int | None = None,
        keep: int = 3,
        best: str | tuple[str, str] | None = None,
    ) -> None:
        super().__init__()
        check_every(every)
        if keep < 1:
            raise ValueError(
                f"`keep` must be a positive number of checkpoints, received keep={keep!r}."
            )
        self.directory = Path(directory)
        self.keep = keep
        self._monitor = _monitor_of(best)
        self._every = None if every is None else Every(every)
        self._stream: Any = None
        self._epoch = 0
        self._skipped = 0  # batches of the first epoch that were trained on before
        self._begun: dict[str, Any] | None = None  # where the data stood as the epoch began
        self._aside = 0  # batches that callbacks had taken by then
        self._data: dict[str, Any] | None = None  # where it stands
        self._metrics: list[np.ndarray] = []
        self._random: list[np.ndarray] = []  # both wait for `fit` to get to where they were saved
        self._scores: dict[Path, float | None] = {}

    def restore(self, model: Any, stream: Any = None, which: str = "latest") -> dict[str, int]:
        """Puts a checkpoint back into a compiled model and its data; without one, changes nothing.

        Args:
            model: A compiled and built model, made as the one that was saved.
            stream: What `fit` will read; its position is saved from now on. A `kooler.data.Stream`,
                or what has `num_batches`, `state()` with an "epoch" and a "position", counted in
                batches, and `restore(state)`. Without one, only a checkpoint from the end of an
                epoch can be continued.
            which: "latest", or "best" by the argument `best`.

        Returns:
            Arguments for `fit`: {"initial_epoch": …}.

        Raises:
            ValueError: The checkpoint is of another model or optimizer, is damaged, or lies within
                an epoch while there is no stream to go there.
        """
        _check_ready(model)
        _check_stream(stream)
        self._stream = stream
        path = self._find(which)
        if path is None:
            self._epoch, self._skipped, self._metrics, self._random = 0, 0, [], []
            return {"initial_epoch": 0}
        facts, groups = read_moment(path)
        self._check_position(path, facts)
        _check_groups(path, _groups_of(model), groups)
        for name, variables in _groups_of(model).items():
            _assign(variables, groups.get(name, []))
        if stream is not None and facts["data"] is not None:
            stream.restore(facts["data"])
        self._epoch, self._skipped = facts["epoch"], facts["batch"]
        self._metrics, self._random = groups.get("metrics", []), groups.get("random", [])
        return {"initial_epoch": self._epoch}

    def save(self, model: Any, score: float | None = None, *, batch: int = 0) -> Path:
        """Writes a checkpoint of now, then removes those that need not be kept; returns its path.

        Callbacks do it by themselves; this is for a loop of your own.

        Args:
            model: The compiled model.
            score: What `best` compares.
            batch: Batches of the epoch that were trained on.
        """
        updates = updates_taken(model)
        facts = {
            "epoch": self._epoch,
            "batch": batch,
            "updates": updates,
            "data": self._data,
            "score": score,
        }
        path = path_of(self.directory, updates)
        if is_first_process():
            self.directory.mkdir(parents=True, exist_ok=True)
            metrics = model.metrics_variables if batch else []
            others = {"metrics": metrics, "random": random_state()}
            write_moment(path, facts, {**_groups_of(model), **others})
            self._scores[path] = score
            self._remove_old()
        return path

    def on_train_begin(self, logs: Any = None) -> None:
        """Sees what is there."""
        if is_first_process():
            self.directory.mkdir(parents=True, exist_ok=True)
            remove_parts(self.directory)
        self._scores = {path: read_facts(path)["score"] for path in moments_in(self.directory)}
        self._check_newest()
        if self._every is not None:
            self._every.start(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Keeps in mind where the data stands; the metrics of a resumed epoch go on."""
        resumed = epoch == self._epoch
        self._epoch = epoch
        self._skipped = self._skipped if resumed else 0
        self._begun = self._position_now()
        self._aside = self._aside_now()
        variables = self.model.metrics_variables
        # TensorFlow makes them with the first batch: there they count the rest of the epoch.
        if resumed and len(variables) == len(self._metrics):
            _assign(variables, self._metrics)
        self._metrics = []
        if not self._skipped:
            self._put_back_random()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Saves if the updates for it have been taken."""
        self._put_back_random()
        if self._every is not None and self._every.is_due(compat.model_of(self)):
            self._data = self._position_after(batch)
            self.save(self.model, batch=self._skipped + batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Saves the epoch, with its score."""
        if self._every is not None:
            self._every.look(self.model)  # what is due now is saved here
        self._epoch, self._skipped = epoch + 1, 0
        self._data = self._position_now()
        self.save(self.model, self._score(logs or {}))

    def _put_back_random(self) -> None:
        set_random_state(self._random)
        self._random = []

    def _position_now(self) -> dict[str, Any] | None:
        return None if self._stream is None else dict(self._stream.state())

    def _aside_now(self) -> int:
        return getattr(self._stream, "taken_aside", 0)

    def _position_after(self, batches: int) -> dict[str, Any] | None:
        """Where the data stands for the training, however far it has been read ahead."""
        if self._begun is None:
            return None
        taken = batches + self._aside_now() - self._aside
        epochs, position = 0, self._begun["position"] + taken
        length = getattr(self._stream, "num_batches", None)
        if length:
            epochs, position = divmod(position, length)
        return {**self._begun, "epoch": self._begun["epoch"] + epochs, "position": position}

    def _score(self, logs: dict[str, Any]) -> float | None:
        if self._monitor is None:
            return None
        name, mode = self._monitor
        if name not in logs:
            raise ValueError(
                f"`best` names {name!r}, which is not in the logs of an epoch: "
                f"{', '.join(logs) or 'there are none'}. A callback that adds it, such as "
                "Evaluate, must stand before Checkpoint in the list."
            )
        return float(logs[name]) if mode == "max" else -float(logs[name])

    def _find(self, which: str) -> Path | None:
        if which not in WHICH:
            raise ValueError(f"`which` must be one of {', '.join(WHICH)}, received {which!r}.")
        paths = moments_in(self.directory)
        if which == "latest":
            return paths[-1] if paths else None
        self._scores = {path: read_facts(path)["score"] for path in paths}
        if self._best() is None:
            raise ValueError(
                f"No checkpoint in `{self.directory}` has a score. Train with Checkpoint(…, "
                "best=…), or restore the latest."
            )
        return self._best()

    def _best(self) -> Path | None:
        scored = {p: s for p, s in self._scores.items() if s is not None and not np.isnan(s)}
        return max(scored, key=scored.__getitem__, default=None)

    def _remove_old(self) -> None:
        best = self._best()
        for path in sorted(self._scores)[: -self.keep]:
            if path != best:
                path.unlink(missing_ok=True)
                del self._scores[path]

    def _check_newest(self) -> None:
        newest, taken = max(self._scores, default=None), updates_taken(self.model)
        if newest is not None and int(newest.stem) > taken:
            raise ValueError(
                f"`{newest}` is of update {int(newest.stem)}, and this training has taken {taken}: "
                "what it saves would be older, and removed at once. Go on from the newest with "
                "`restore`, or use another directory."
            )

    def _check_position(self, path: Path, facts: dict[str, Any]) -> None:
        if facts["batch"] and (self._stream is None or facts["data"] is None):
            raise ValueError(
                f"`{path}` was saved after batch {facts['batch']} of an epoch, and nothing says "
                "how the data gets there. Feed `fit` from a kooler.data.Stream and hand it to "
                "`restore(model, stream)` from the beginning, or save only at the ends of epochs "
                "(every=None)."
            )


def _monitor_of(best: Any) -> tuple[str, str] | None:
    if best is None:
        return None
    if isinstance(best, str) and ("loss" in best or "error" in best):
        return best, "min"
    if isinstance(best, tuple) and len(best) == 2 and best[1] in ("max", "min"):
        return best[0], best[1]
    raise ValueError(
        "`best` must name a loss or an error, or be a pair such as ('val_accuracy', 'max'), "
        f"received best={best!r}."
    )


def _groups_of(model: Any) -> dict[str, list[Any]]:
    return {"model": list(model.variables), "optimizer": list(model.optimizer.variables)}


def _check_stream(stream: Any) -> None:
    if stream is not None and not (hasattr(stream, "state") and hasattr(stream, "restore")):
        raise ValueError(
            "`stream` must be a kooler.data.Stream, or have state() and restore(state) as it has; "
            f"received a {type(stream).__name__}. Arrays can be wrapped: "
            "Stream((x, y), batch_size=32)."
        )


def _check_ready(model: Any) -> None:
    if not getattr(model, "compiled", False) or not model.built or model.optimizer is None:
        raise ValueError(
            f"`restore` needs a compiled and built model, and {model.name!r} is not. Call "
            "`model.compile(…)`, and give the model an input shape or call it on a batch."
        )
    if not model.optimizer.built:
        with keras.name_scope(model.optimizer.name):
            model.optimizer.build(model.trainable_variables)


def _check_groups(path: Path, own: dict[str, list[Any]], saved: Groups) -> None:
    for name, variables in own.items():
        shapes = [tuple(variable.shape) for variable in variables]
        found = [tuple(array.shape) for array in saved.get(name, [])]
        if shapes != found:
            differing = [pair for pair in zip(shapes, found, strict=False) if pair[0] != pair[1]]
            first = f"; the first that differs: {differing[0]}" if differing else ""
            raise ValueError(
                f"`{path}` is of another {name}: it has {len(found)} variables, this one "
                f"{len(shapes)}{first}. Make and compile the model as the one that was saved, "
                "or use another directory."
            )


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
