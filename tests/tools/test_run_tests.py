"""The runner of the three backends: nothing that fails may look like a success."""

import signal
from pathlib import Path

import pytest

from tools import run_tests


@pytest.mark.parametrize(
    ("line", "is_last"),
    [
        ("============ 46 passed in 4.41s ============", True),
        ("=== 1 failed, 45 passed, 2 skipped in 134.41s (0:02:14) ===", True),
        ("============ no tests ran in 0.04s ============", True),
        ("46 passed, 3 deselected in 4.41s", True),
        ("tests/core/test_selectors.py ....... [ 50%]", False),
        ("FAILED tests/test_a.py::test_b - assert 1 == 2", False),
    ],
)
def test_the_last_line_of_pytest_is_recognised(line: str, is_last: bool) -> None:
    assert bool(run_tests.LAST_LINE.match(line)) == is_last


def test_one_failing_backend_fails_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    test = tmp_path / "test_backend.py"
    test.write_text("import os\ndef test_a(): assert os.environ['KERAS_BACKEND'] == 'jax'\n")
    monkeypatch.setenv("KOOLER_TEST_SUMMARY", str(tmp_path / "summary.txt"))
    # A bare pytest: none of this project's settings, and no shared cache.
    bare = [str(test), "-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]

    status = run_tests.main(["jax,torch", *bare])

    lines = capfd.readouterr().out.rstrip().splitlines()
    assert status == 1
    assert [line.split()[:2] for line in lines[-5:-3]] == [["jax", "passed"], ["torch", "failed"]]
    assert "1 passed in" in lines[-2]
    assert "1 failed in" in lines[-1]
    assert (tmp_path / "summary.txt").read_text().rstrip().splitlines()[-2:] == lines[-2:]


def test_all_backends_passing_is_a_success(tmp_path: Path) -> None:
    test = tmp_path / "test_nothing.py"
    test.write_text("def test_a(): pass\n")

    assert run_tests.main(["jax", str(test), "-c", "/dev/null", "-p", "no:cacheprovider"]) == 0


def test_a_run_that_dies_is_named_by_its_signal() -> None:
    assert run_tests.death(-signal.SIGSEGV) == "pytest was killed by SIGSEGV before it could sum up"


def test_a_run_without_a_summary_is_named_by_its_status() -> None:
    assert run_tests.death(4) == "pytest stopped with status 4 before it could sum up"
