"""Stopping between two updates: Ctrl-C and SIGTERM wait until the state is whole.

An update that is cut in the middle leaves weights and optimizer apart.  So the first signal is only
noted; the training looks for it after every update, writes a checkpoint and stops.  A second one
stops at once, as Python does without this.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Interruption:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def stop(self) -> None:
        """Ends the program as the signal would have: KeyboardInterrupt, or exit code 143."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible(noticed: Callable[[], None]) -> Iterator[Interruption]:
    """Notes Ctrl-C and SIGTERM instead of raising; a second one raises.

    Outside of the main thread, where Python does not deliver signals, it notes nothing.

    Args:
        noticed: Called when the first signal comes.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame: FrameType | None) -> None:
        if interruption:
            interruption.stop()
        interruption.signal = number
        noticed()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the block with SystemExit, exit code 143, so that files and locks are let go.

    Outside of the main thread it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
