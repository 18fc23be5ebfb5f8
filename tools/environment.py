"""Makes the virtual environment that `make demo` and `make test` run in, and says what it does.

    python3 tools/environment.py .venv jax,seq2seq

It needs nothing but Python's standard library.  What pip says goes to `install.log` in the
environment; on the screen there is one line a step, and where a step fails, a few that name the
cause and the way out.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = (3, 11)
LARGE_DOWNLOAD = re.compile(r"Downloading \S*?([A-Za-z0-9_]+)-(\d[^-]*)-\S+ \(([\d.]+) ([MG])B\)")

# What pip writes when it fails → what happened, and what to do.  The first that is found counts.
CAUSES = [
    (
        r"No space left on device",
        "the disk is full.",
        "Free some space (all three backends need about 5 GB, the demo 1 GB)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "the package index was reached, but its certificate is not trusted here.",
        "Behind a proxy that opens TLS, name its certificate in PIP_CERT",
    ),
    (
        r"NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|Read timed out|"
        r"ProxyError|Connection (?:broken|reset|refused|aborted)|ConnectionResetError|"
        r"IncompleteRead|HTTP error|HTTPError",
        "downloading {package} failed: the package index cannot be reached, or broke off.",
        "Check the network (HTTPS_PROXY names a proxy, PIP_INDEX_URL a mirror)",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        "a download arrived damaged.",
        "Empty pip's cache with `python3 -m pip cache purge`",
    ),
    (
        r"No matching distribution found",
        "there is no {package} for this system with Python {python}.",
        "Take another Python (3.11 is tested): make PYTHON=python3.11 VENV=.venv-3.11 …",
    ),
    (
        r"conflicting dependencies|ResolutionImpossible",
        "two packages ask for versions that exclude each other.",
        "Compare pyproject.toml with constraints.txt, where every version is fixed",
    ),
]


class SetupError(Exception):
    """A step failed; the text says why, and what to do."""


def main(arguments: list[str]) -> int:
    """Makes or completes the environment; returns the exit status."""
    folder, extras = Path(arguments[0]).absolute(), arguments[1]
    try:
        require_python(sys.version_info[:2])
        create(folder)
        install(folder, extras)
    except SetupError as error:
        print(f"\nkooler: {error}", file=sys.stderr)
        return 1
    return 0


def require_python(version: tuple[int, ...]) -> None:
    """Refuses a Python that is too old, with the way to name another."""
    if version < OLDEST_PYTHON:
        raise SetupError(
            f"Python 3.11 or newer is needed, {sys.executable} is {version[0]}.{version[1]}. "
            "Name another one: make PYTHON=/path/to/python3 …"
        )


def create(folder: Path) -> None:
    """Creates the virtual environment, unless there is a working one."""
    if works(folder):
        return
    say(f"creating the environment {folder} with Python {version_text()}")
    done = subprocess.run(
        [sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode or not works(folder):
        raise SetupError(
            f"Python's `venv` could not create {folder}. On Debian and Ubuntu it is a package of "
            f"its own: apt install python3-venv. What it said: {last_line(done.stdout)}"
        )


def install(folder: Path, extras: str) -> None:
    """Installs kooler from this checkout, with the extras, in the versions of constraints.txt."""
    say(f"installing kooler[{extras}] into {folder} (minutes at the first time)")
    log = folder / "install.log"
    command = [str(python_of(folder)), "-m", "pip", "install", "--no-input", "--progress-bar=off"]
    command += ["--constraint", str(PROJECT / "constraints.txt")]
    command += ["--editable", f"{PROJECT}[{extras}]"]
    with log.open("w", encoding="utf-8") as record:
        status = run_pip(command, record)
    if status:
        raise SetupError(f"{explanation(log.read_text('utf-8'))}\nAll that pip said is in {log}.")


def run_pip(command: list[str], record) -> int:
    """Runs pip, writes down all it says, and shows the large downloads only."""
    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    with subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    ) as pip:
        for line in pip.stdout:
            record.write(line)
            show_large_download(line)
    return pip.returncode


def show_large_download(line: str) -> None:
    """Says what one is waiting for, from 20 MB on."""
    found = LARGE_DOWNLOAD.search(line)
    if found and (found[4] == "G" or float(found[3]) >= 20):
        say(f"  downloading {found[1]} {found[2]} ({found[3]} {found[4]}B)")


def explanation(log: str) -> str:
    """The cause of pip's failure on one line, and the way out on the next."""
    for pattern, cause, remedy in CAUSES:
        found = re.search(pattern, log)
        if found:
            cause = cause.format(package=wanted_package(log), python=version_text())
            return f"{cause}\n{remedy}, then run the same command again."
    return f"pip failed: {last_line(log)}"


def wanted_package(log: str) -> str:
    """What pip asked for when it gave up."""
    found = re.findall(r"No matching distribution found for ([^\s(;]+)", log)
    return found[-1] if found else "a package"


def last_line(text: str) -> str:
    """The last line that says what went wrong; pip marks it, and adds hints after it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|\w+Error): ", line)]
    return (errors or lines or ["nothing"])[-1]


def works(folder: Path) -> bool:
    """Whether the environment has a Python with pip (a broken-off creation leaves one without)."""
    command = [str(python_of(folder)), "-m", "pip", "--version"]
    return (
        shutil.which(command[0]) is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def python_of(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    windows = os.name == "nt"
    return folder / ("Scripts/python.exe" if windows else "bin/python")


def version_text() -> str:
    """The version of the running Python, such as 3.11.7."""
    return ".".join(str(number) for number in sys.version_info[:3])


def say(text: str) -> None:
    """One line on the screen, at once, also into a pipe."""
    print(f"kooler: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
