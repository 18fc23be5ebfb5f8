"""What `make` would do: install once, then only run; the daily round reaches pytest as given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
OUTER_MAKE = {"VENV", "BACKEND", "TEST", "ARGS", "PYTHON", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}


def test_a_first_run_installs_and_a_second_does_not(tmp_path: Path) -> None:
    first = would_do("test", f"VENV={tmp_path}")
    (tmp_path / "installed-test").touch()
    second = would_do("test", f"VENV={tmp_path}")

    assert f"tools/environment.py {tmp_path} backends,seq2seq,dev" in first
    assert "environment.py" not in second


def test_new_versions_are_installed(tmp_path: Path) -> None:
    stamp = tmp_path / "installed-test"
    stamp.touch()
    os.utime(stamp, (0, 0))

    assert "environment.py" in would_do("test", f"VENV={tmp_path}")


def test_the_demo_installs_one_backend(tmp_path: Path) -> None:
    steps = would_do("demo", f"VENV={tmp_path}")

    assert f"tools/environment.py {tmp_path} jax,seq2seq" in steps
    assert f"KERAS_BACKEND=jax {tmp_path}/bin/python -m kooler demo" in steps


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["test"], "run_tests.py jax,torch,tensorflow"),
        (["test-all"], 'run_tests.py jax,torch,tensorflow -m ""'),
        (
            ["test", "BACKEND=jax", "TEST=tests/seq2seq/test_order.py", "ARGS=-k mid"],
            "run_tests.py jax tests/seq2seq/test_order.py -k mid",
        ),
    ],
)
def test_the_variables_reach_pytest(tmp_path: Path, arguments: list[str], expected: str) -> None:
    assert expected in " ".join(would_do(*arguments, f"VENV={tmp_path}").split())


def test_without_a_python_make_says_so() -> None:
    done = make("demo", "PYTHON=", "VENV=/nonexistent")

    assert done.returncode != 0
    assert "kooler: no Python 3.11 or newer found; name one: make PYTHON=" in done.stderr


def would_do(*arguments: str) -> str:
    """What make would run, without running it."""
    done = make("--dry-run", f"PYTHON={sys.executable}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Calls make as from a shell, not as a part of the make that runs these tests."""
    inherited = {name: value for name, value in os.environ.items() if name not in OUTER_MAKE}
    return subprocess.run(
        ["make", "--directory", str(PROJECT), *arguments],
        env=inherited,
        capture_output=True,
        text=True,
        check=False,
    )
