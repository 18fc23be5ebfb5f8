"""The time budget of the rooms: counts what it should, and fails a run that is too slow."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from tests.time_budget import SECONDS, SHARE, TimeBudget, processor_seconds, room_of


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delenv("KOOLER_TIME_FACTOR", raising=False)


def test_the_rooms_of_three_backends_fit_into_25_minutes_of_two_cores() -> None:
    twice = 1.2  # two processes import the backend, and make some models, each for itself

    house = SECONDS["house"]
    rooms = sum(SECONDS.values()) - house

    assert twice * (sum(SHARE.values()) * rooms + 3 * house) <= 25 * 60 * 2


@pytest.mark.parametrize(
    ("nodeid", "room"),
    [
        ("tests/core/test_selectors.py::test_a[x::y]", "core"),
        ("tests/seq2seq/deep/test_a.py::test_b", "seq2seq"),
        ("tests/test_readme.py::test_a", "house"),
    ],
)
def test_the_folder_of_a_test_is_its_room(nodeid: str, room: str) -> None:
    assert room_of(nodeid) == room


def test_a_room_within_its_budget_passes() -> None:
    budget = budget_after("tests/core/test_a.py::test_b", SECONDS["core"] - 1.0)

    assert budget.over_budget() == []


def test_a_room_over_its_budget_fails_the_run_and_is_named() -> None:
    budget = budget_after("tests/core/test_a.py::test_b", SECONDS["core"] + 1.0)
    session, screen = SimpleNamespace(exitstatus=pytest.ExitCode.OK), Screen()

    budget.pytest_sessionfinish(session)
    budget.pytest_terminal_summary(screen)

    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert "TOO SLOW: the tests of core took 76.0 s, their budget is 75 s." in screen.text


def test_pytorch_compiles_nothing_and_gets_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")

    assert budget_after("tests/core/test_a.py::test_b", SECONDS["core"] - 1.0).over_budget()
    assert not budget_after("tests/test_a.py::test_b", SECONDS["house"] - 1.0).over_budget()


def test_a_slower_machine_may_stretch_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOOLER_TIME_FACTOR", "2")

    budget = budget_after("tests/core/test_a.py::test_b", SECONDS["core"] + 1.0)

    assert budget.over_budget() == []


def test_processor_time_counts_work_and_children_but_not_waiting() -> None:
    start = processor_seconds()
    time.sleep(0.2)
    waited = processor_seconds() - start
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    worked = processor_seconds() - start - waited

    assert waited < 0.1 < worked


def test_this_very_run_is_counted(request: pytest.FixtureRequest) -> None:
    budget = request.config.pluginmanager.get_plugin("time-budget")

    assert 0 < budget.seconds["house"] <= processor_seconds()


def test_the_full_suite_has_no_budget() -> None:
    budget = budget_after("tests/core/test_a.py::test_b", 1e6, markers="")

    assert budget.over_budget() == []


def budget_after(nodeid: str, seconds: float, markers: str = "not slow") -> TimeBudget:
    """The budget after one test of the given length."""
    budget = TimeBudget(SimpleNamespace(option=SimpleNamespace(markexpr=markers)))
    budget.pytest_runtest_logreport(
        SimpleNamespace(nodeid=nodeid, processor_seconds=seconds, when="call")
    )
    return budget


class Screen:
    """Stands in for pytest's terminal."""

    text = ""

    def section(self, title: str) -> None:
        self.text += f"== {title} ==\n"

    def line(self, text: str, **_: bool) -> None:
        self.text += f"{text}\n"
