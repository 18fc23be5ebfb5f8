"""The speed of a training in tokens and in updates."""

import time
from collections.abc import Callable

from kooler.core.speed import Speed


class TrainingSpeed:
    """How fast updates and tokens went by in the last seconds.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._updates, self._tokens = Speed(clock), Speed(clock)
        self._seen = 0

    def add(self, update: int, tokens: int) -> None:
        """Counts an update."""
        self._seen += tokens
        self._updates.see(update)
        self._tokens.see(self._seen)

    def tokens(self) -> float | None:
        """Tokens a second, None before the second update."""
        return self._tokens.per_second()

    def updates(self) -> float | None:
        """Updates a second, None before the second update."""
        return self._updates.per_second()
