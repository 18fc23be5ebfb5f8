"""How many updates a training has taken, and when the next one is due for something.

A batch is not an update: under accumulation several make one, and a skipped step makes none.  What
counts is the counter of the innermost optimizer, which stands on the device.  Reading it means to
wait for the step that runs, so `Every` reads it as rarely as it can: a batch brings at most one
update, so while fewer batches have gone by than updates are missing, nothing can be due.

All of it happens in `on_train_batch_begin`, which Keras calls in the thread of the training; what
overrides `on_train_batch_end` would make Keras wait for the values of each step.
"""

from typing import Any

from kooler.core import compat
from kooler.optimizers.group import innermost


def updates_taken(model: Any) -> int:
    """The number of updates that a compiled model's optimizer has taken, also within `fit`."""
    counter, calls = compat.update_counter(innermost(model.optimizer))
    return int(compat.running_values(model, [counter])[0]) // calls


class Every:
    """Says once for each so many updates that they have been taken.

    Args:
        updates: How many.
    """

    def __init__(self, updates: int) -> None:
        self._updates = updates
        self._next = 0
        self._batches = 0  # that go by before anything can be due

    def start(self, model: Any) -> None:
        """Counts from the updates that the model has taken by now."""
        self._plan(updates_taken(model), beyond=True)

    def is_due(self, model: Any) -> bool:
        """To be asked before each batch."""
        self._batches -= 1
        return self._batches < 0 and self.look(model)

    def look(self, model: Any) -> bool:
        """The same between batches, where something else than a batch may have made an update."""
        taken = updates_taken(model)
        due = taken >= self._next
        self._plan(taken, beyond=due)
        return due

    def _plan(self, taken: int, beyond: bool) -> None:
        if beyond:
            self._next = (taken // self._updates + 1) * self._updates
        self._batches = self._next - taken - 1


def check_every(every: Any) -> None:
    """Raises ValueError if `every` is neither None nor a positive number of updates."""
    if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        raise ValueError(
            "`every` must be a positive number of updates, or None for the end of each epoch, "
            f"received every={every!r}."
        )
