"""A training for `test_killed`, as a module and as a program that kills itself.

python -m tests.callbacks.killed_training DIRECTORY OPTIMIZER WORKERS KILLED_AT
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.callbacks import Checkpoint
from kooler.data import Stream
from kooler.optimizers import Accumulate
from tests.data.sources import Augmented

EPOCHS = 3
STEPS = 7  # batches of an epoch
OPTIMIZERS = {
    "plain": lambda: keras.optimizers.Adam(0.1),
    # An epoch's end lies within a window: 7 batches are no multiple of 4.
    "window": lambda: Accumulate(keras.optimizers.Adam(0.1), 4, on_partial="carry"),
}


class Watched(Stream):
    """A stream that keeps a digest of each batch that was taken."""

    def __init__(self, workers: int) -> None:
        super().__init__(
            Augmented(27), batch_size=4, shuffle=True, seed=5, workers=workers, processes=False
        )
        self.taken: list[str] = []

    def _take(self, epoch: int | None) -> Any:
        batch = super()._take(epoch)
        if isinstance(batch, tuple):
            parts = b"".join(np.ascontiguousarray(part).tobytes() for part in batch)
            self.taken.append(hashlib.sha256(parts).hexdigest())
        return batch


class End(keras.callbacks.Callback):
    """Ends the training before a batch, counted over all epochs of this process."""

    def __init__(self, at: int, end: Callable[[], None]) -> None:
        super().__init__()
        self.at, self.end = at, end

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.at == 0:
            self.end()
        self.at -= 1


def kill() -> None:
    """As hard as can be."""
    os.kill(os.getpid(), signal.SIGKILL)


def train(directory: Path, optimizer: str, workers: int, *others: Any) -> tuple[Any, Watched]:
    """Trains to the end, from the last checkpoint if there is one."""
    keras.utils.set_random_seed(os.getpid())  # what is drawn anew differs in each process
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2, seed=1),
            keras.layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(seed=2)),
            keras.layers.Dense(1, kernel_initializer=keras.initializers.RandomNormal(seed=3)),
        ]
    )
    model.compile(OPTIMIZERS[optimizer](), "mse")
    stream, checkpoint = Watched(workers), Checkpoint(directory, every=3)
    start = checkpoint.restore(model, stream)
    model.fit(stream, epochs=EPOCHS, verbose=0, callbacks=[checkpoint, *others], **start)
    stream.close()
    return model, stream


def state(model: Any) -> list[np.ndarray]:
    """All that the training leaves."""
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


if __name__ == "__main__":
    folder, name, count, killed_at = sys.argv[1:]
    train(Path(folder), name, int(count), End(int(killed_at), kill))
