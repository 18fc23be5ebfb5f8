"""Runs the tests once for each backend, each in a process of its own, and sums up at the end.

    python tools/run_tests.py jax,torch,tensorflow tests/core -k selectors

Everything after the backends goes to pytest.  The last lines are pytest's own, one a backend.  The
summary is also left in the file that KOOLER_TEST_SUMMARY names, if it names one.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

LAST_LINE = re.compile(
    r"^=* ?.*\b(?:passed|failed|error|errors|no tests ran|skipped)\b.* in [\d.]+s"
)


class Outcome(NamedTuple):
    """What one backend's run came to."""

    backend: str
    status: int
    seconds: float
    last_line: str


def main(arguments: list[str]) -> int:
    """Runs the backends in turn; 0 only if all of them passed."""
    backends, pytest_arguments = arguments[0].split(","), arguments[1:]
    outcomes = [run(backend, pytest_arguments) for backend in backends]
    text = summary(outcomes)
    print(text, flush=True)
    if "KOOLER_TEST_SUMMARY" in os.environ:
        Path(os.environ["KOOLER_TEST_SUMMARY"]).write_text(f"{text}\n", encoding="utf-8")
    return int(any(outcome.status for outcome in outcomes))


def run(backend: str, pytest_arguments: list[str]) -> Outcome:
    """Runs pytest under one backend, shows what it says, and keeps its last line."""
    print(f"\nkooler: testing on {backend}", flush=True)
    start, last_line = time.monotonic(), ""
    command = [sys.executable, "-m", "pytest", *pytest_arguments]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as tests:
        for line in tests.stdout:
            print(line, end="", flush=True)
            last_line = line.strip() if LAST_LINE.match(line) else last_line
    seconds = time.monotonic() - start
    return Outcome(backend, tests.returncode, seconds, last_line or death(tests.returncode))


def summary(outcomes: list[Outcome]) -> str:
    """A verdict a backend, then pytest's own last line of each."""
    verdicts = [
        f"{outcome.backend:<12}{'failed' if outcome.status else 'passed'} {outcome.seconds:7.0f} s"
        for outcome in outcomes
    ]
    total = f"{'all':<12}{'':6} {sum(outcome.seconds for outcome in outcomes):7.0f} s"
    return "\n".join(["", *verdicts, total, *(outcome.last_line for outcome in outcomes)])


def death(status: int) -> str:
    """What to say of a run that never came to its summary."""
    if status < 0:
        return f"pytest was killed by {signal.Signals(-status).name} before it could sum up"
    return f"pytest stopped with status {status} before it could sum up"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
