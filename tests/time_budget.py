"""Seconds that the tests of a room may take on one backend; more is a failure.

The rooms may take so many seconds where a backend compiles (JAX, TensorFlow), and half of that on
PyTorch; those of the house, which hardly compute, the same on each.  So two processes on two cores
come through three backends in 25 minutes.  What counts is the time of the processor, for the tests
and for the processes that they start, so that a busy machine changes little.  On a slower one,
KOOLER_TIME_FACTOR=2 doubles every budget.
"""

import os
from collections import Counter
from collections.abc import Generator
from pathlib import PurePosixPath

import pytest

SECONDS = {
    "core": 75,
    "layers": 140,
    "optimizers": 190,
    "steps": 55,
    "models": 90,
    "data": 30,
    "callbacks": 75,
    "seq2seq": 270,
    "house": 60,  # the tests that lie directly in tests/
}
SHARE = {"jax": 1.0, "torch": 0.5, "tensorflow": 1.0}


class TimeBudget:
    """A pytest plugin: adds up the seconds by room; one over its budget fails the run."""

    def __init__(self, config: pytest.Config) -> None:
        self.factor = float(os.environ.get("KOOLER_TIME_FACTOR", "1"))
        self.enforced = config.option.markexpr == "not slow"
        self.seconds: Counter[str] = Counter()
        self.tests: Counter[str] = Counter()
        self.last = processor_seconds()

    def pytest_collection_finish(self) -> None:
        """Starts the clock when the first test is about to."""
        self.last = processor_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Writes into each report of setup, call and teardown what it took since the one before."""
        report = yield
        now = processor_seconds()
        report.processor_seconds = now - self.last
        self.last = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Counts a report for its room; those of parallel workers arrive here too."""
        room = room_of(report.nodeid)
        self.seconds[room] += report.processor_seconds
        self.tests[room] += report.when == "call"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turns a green run that took too long into a red one."""
        if self.over_budget() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Prints one line a room, and names the rooms that are too slow."""
        terminalreporter.section("processor time by room")
        for room in [room for room in SECONDS if self.tests[room]]:
            terminalreporter.line(
                f"{room:<12}{self.tests[room]:5} tests {self.seconds[room]:7.1f} s"
                f" of {self.budget(room):.0f} s"
            )
        for room in self.over_budget():
            terminalreporter.line(
                f"TOO SLOW: the tests of {room} took {self.seconds[room]:.1f} s, their budget is "
                f"{self.budget(room):.0f} s. Make them faster, or mark the longest `slow` "
                "(pytest --durations=10 names them).",
                red=True,
                bold=True,
            )

    def budget(self, room: str) -> float:
        """The seconds of a room on this machine."""
        share = 1.0 if room == "house" else SHARE[os.environ["KERAS_BACKEND"]]
        return SECONDS[room] * share * self.factor

    def over_budget(self) -> list[str]:
        """The rooms that took longer than they may."""
        if not self.enforced:
            return []
        return [room for room in SECONDS if self.seconds[room] > self.budget(room)]


def processor_seconds() -> float:
    """What this process, and those that it started and that have ended, took of the processor."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def room_of(nodeid: str) -> str:
    """The room of a test, by its folder; a test directly in tests/ belongs to the house."""
    parts = PurePosixPath(nodeid.partition("::")[0]).parts
    return parts[1] if len(parts) > 2 and parts[1] in SECONDS else "house"
