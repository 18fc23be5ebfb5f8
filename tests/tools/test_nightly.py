"""`make test-nightly`: what it runs, and what it says where there is nothing to run."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tools import environment

sys.path.insert(0, str(Path(environment.__file__).parent))  # as for a script
sys.modules.setdefault("environment", environment)
from tools import nightly  # noqa: E402  (after the path)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Nothing is installed or run; what would be is written down."""
    seen: list[list[str]] = []

    class Done:
        returncode = 3
        stdout = "9.9"

    def run(command: Any, **arguments: Any) -> Done:
        seen.append([str(part) for part in command])
        return Done()

    monkeypatch.setattr(nightly, "create", lambda folder: None)
    monkeypatch.setattr(nightly, "site_packages_of", lambda folder: tmp_path)
    monkeypatch.setattr(nightly.subprocess, "run", run)
    return seen


def test_it_runs_the_tests_of_the_core(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(nightly, "run_pip", lambda command, record: 0)

    assert nightly.main([str(tmp_path), "jax,torch", "-x"]) == 3
    assert commands[-1][2:] == ["jax,torch", *nightly.TESTS, "-x"]
    assert Path((tmp_path / "kooler-tests.pth").read_text().strip()).is_dir()


def test_a_failing_download_is_said_and_nothing_runs(
    commands: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(command: list[str], record: Any) -> int:
        record.write("ERROR: No matching distribution found for keras-nightly")
        return 1

    monkeypatch.setattr(nightly, "run_pip", fails)

    assert nightly.main([str(tmp_path), "jax"]) == 2
    assert "nothing was tested: there is no keras-nightly for this" in capsys.readouterr().err
    assert commands == []
