"""Tests the core against the newest Keras there is, in an environment of its own.

    .venv/bin/python tools/nightly.py .venv-nightly jax,torch,tensorflow [arguments for pytest]

The environment holds one package, Keras as it was last published (`keras-nightly`; before a release
everything else stays the same), and sees those of `.venv` behind it. So nothing large is fetched
twice, and only Keras differs. If the download fails, that is said, and nothing is tested.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from environment import PROJECT, SetupError, create, explanation, python_of, run_pip, say

PACKAGE = "keras-nightly"
TESTS = ("tests/core", "tests/optimizers/test_wrapper.py")


def main(arguments: list[str]) -> int:
    """Fetches the newest Keras and runs the tests; the exit status is 2 if there is none."""
    folder, backends, chosen = Path(arguments[0]).absolute(), arguments[1], arguments[2:]
    try:
        create(folder)
        see_packages_of_this_python(folder)
        fetch(folder)
    except SetupError as error:
        print(f"\nkooler: nothing was tested: {error}", file=sys.stderr)
        return 2
    say(f"testing the core with {PACKAGE} {version_in(folder)}")
    paths = [] if any(not one.startswith("-") for one in chosen) else TESTS
    command = [python_of(folder), PROJECT / "tools" / "run_tests.py", backends, *paths, *chosen]
    return subprocess.run([str(part) for part in command], cwd=PROJECT, check=False).returncode


def see_packages_of_this_python(folder: Path) -> None:
    """Lets the environment import what is installed beside the running Python, after its own."""
    ours = Path(sysconfig.get_path("purelib"))
    (site_packages_of(folder) / "kooler-tests.pth").write_text(f"{ours}\n", encoding="utf-8")


def fetch(folder: Path) -> None:
    """Installs or renews Keras in the environment, and nothing else."""
    say(f"fetching {PACKAGE} into {folder}")
    log = folder / "install.log"
    command = [str(python_of(folder)), "-m", "pip", "install", "--no-input", "--progress-bar=off"]
    command += ["--upgrade", "--pre", "--no-deps", PACKAGE]
    with log.open("w", encoding="utf-8") as record:
        status = run_pip(command, record)
    if status:
        raise SetupError(f"{explanation(log.read_text('utf-8'))}\nAll that pip said is in {log}.")


def version_in(folder: Path) -> str:
    """What the Keras of the environment calls itself."""
    command = [str(python_of(folder)), "-c", "import keras; print(keras.__version__)"]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "that cannot be imported"


def site_packages_of(folder: Path) -> Path:
    """Where packages lie in a virtual environment."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    command = [str(python_of(folder)), "-c", code]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
