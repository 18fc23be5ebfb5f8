"""Speed over the last seconds: compiling a step or a pause counts for a while, not for ever."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 30.0  # seconds


class Speed:
    """How fast updates and tokens went by in the last seconds.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: deque[tuple[float, int, int]] = deque()
        self._tokens = 0

    def add(self, update: int, tokens: int) -> None:
        """Counts an update."""
        now = self._clock()
        self._tokens += tokens
        self._past.append((now, update, self._tokens))
        while len(self._past) > 2 and now - self._past[1][0] > WINDOW:
            self._past.popleft()

    def tokens(self) -> float | None:
        """Tokens a second, None before the second update."""
        return self._rate(2)

    def updates(self) -> float | None:
        """Updates a second, None before the second update."""
        return self._rate(1)

    def _rate(self, field: int) -> float | None:
        if len(self._past) < 2 or self._past[-1][0] <= self._past[0][0]:
            return None
        first, last = self._past[0], self._past[-1]
        return (last[field] - first[field]) / (last[0] - first[0])
