from pathlib import Path

import pytest

from benchmarks.remembered import Remembered


def refuse() -> None:
    pytest.fail("it is known already")


def test_a_result_is_computed_once_and_read_after_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "results.jsonl"

    assert Remembered(path)("freeze", 0, run=lambda: [0.5, 1.5]) == [0.5, 1.5]
    assert Remembered(path)("freeze", 0, run=refuse) == [0.5, 1.5]
    assert Remembered(path)("freeze", 1, run=lambda: 2) == 2


def test_without_a_file_it_remembers_while_it_lives() -> None:
    runs = Remembered(None)

    assert runs("plain", run=lambda: 1) == 1
    assert runs("plain", run=refuse) == 1
