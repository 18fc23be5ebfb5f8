"""How fast something goes: over the last seconds, so that a pause counts for a while only.

Compiling the first step takes as long as hundreds of others; a mean over all of them would tell of
it for ever.
"""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 30.0  # seconds


class Speed:
    """How fast a count grew in the last seconds.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._past: deque[tuple[float, float]] = deque()

    def see(self, count: float) -> None:
        """Notes how far the count is."""
        now = self._clock()
        if self._past and count < self._past[-1][1]:  # it began anew, say with an epoch
            self._past.clear()
        self._past.append((now, count))
        while len(self._past) > 2 and now - self._past[1][0] > WINDOW:
            self._past.popleft()

    def per_second(self) -> float | None:
        """None before the second look."""
        if len(self._past) < 2 or self._past[-1][0] <= self._past[0][0]:
            return None
        (begun, first), (now, last) = self._past[0], self._past[-1]
        return (last - first) / (now - begun)
