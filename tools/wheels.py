"""Installs the wheel beside one backend and nothing else of ours, and uses it there.

    .venv/bin/python tools/wheels.py .venv-wheel jax,torch,tensorflow

For each backend a fresh environment gets `kooler-….whl[backend,seq2seq]`.  Away from the checkout,
a process there imports every room, trains, writes and reports titles, and must not have met
another backend.  Before that, the wheel is compared with the checkout, file by file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from environment import PROJECT, SetupError, create, explanation, python_of, run_pip, say

BACKENDS = ("jax", "torch", "tensorflow")
USE = """
import os, sys
import importlib.util

backend, others = os.environ["KERAS_BACKEND"], {others!r}
import kooler
assert not {{"keras", backend}} & set(sys.modules), "import kooler alone loads a backend"

import keras
import numpy as np
from kooler import callbacks, core, data, layers, models, optimizers, seq2seq, steps

for room in (callbacks, data, layers, models, optimizers, seq2seq, steps):
    for name in room.__all__:
        getattr(room, name)

model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
model.compile(optimizers.Lookahead(optimizers.Accumulate("adam", 2)), loss="mse")
model.fit(np.ones((8, 3)), np.ones((8, 1)), batch_size=2, verbose=0)

ids = np.random.default_rng(0).integers(6, 12, (8, 4))
writer = seq2seq.Seq2Seq(12, size="tiny", layers=1, width=16)
writer.compile("adam")
writer.fit({{"source": ids, "target": ids[:, :2]}}, verbose=0)
seq2seq.generate(writer, ids[:2], order="best", beam_size=2)

assert kooler.__file__.startswith(sys.prefix), kooler.__file__
met = [name for name in others if name in sys.modules or importlib.util.find_spec(name)]
assert not met, f"{{met}} beside {{backend}}"
print("kooler", kooler.__version__, "with", backend, "alone")
"""


def main(arguments: list[str]) -> int:
    """Builds the wheel and tries it with each backend; the exit status is 1 if anything failed."""
    folder, backends = Path(arguments[0]).absolute(), arguments[1].split(",")
    with tempfile.TemporaryDirectory() as place:
        try:
            wheel = build(Path(place))
            if missing := left_out(wheel, PROJECT):
                raise SetupError(f"{wheel.name} lacks {', '.join(missing)}")
            for backend in backends:
                try_with(backend, wheel, folder.with_name(f"{folder.name}-{backend}"))
        except (SetupError, subprocess.CalledProcessError) as error:
            print(f"\nkooler: {error}", file=sys.stderr)
            return 1
    return 0


def build(place: Path) -> Path:
    """The wheel of this checkout."""
    say("building the wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(place)]
    subprocess.run([*command, str(PROJECT)], check=True)
    (wheel,) = place.glob("kooler-*.whl")
    return wheel


def left_out(wheel: Path, project: Path) -> list[str]:
    """The files of the package that the wheel does not hold: code, pages, type marker."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    files = (path for path in (project / "kooler").rglob("*") if path.is_file())
    names = (path.relative_to(project).as_posix() for path in files)
    return sorted({name for name in names if "__pycache__" not in name} - packed)


def try_with(backend: str, wheel: Path, folder: Path) -> None:
    """Installs the wheel with one backend into a fresh environment, and uses it."""
    shutil.rmtree(folder, ignore_errors=True)
    create(folder)
    say(f"installing {wheel.name}[{backend},seq2seq] into {folder}")
    log = folder / "install.log"
    command = [python_of(folder), "-m", "pip", "install", "--no-input", "--progress-bar=off"]
    command += ["--constraint", PROJECT / "constraints.txt", f"{wheel}[{backend},seq2seq]"]
    with log.open("w", encoding="utf-8") as record:
        if run_pip([str(part) for part in command], record):
            raise SetupError(f"{explanation(log.read_text('utf-8'))}\nAll is in {log}.")
    others = [name for name in BACKENDS if name != backend]
    kooler = [folder / "bin" / "kooler"]
    with tempfile.TemporaryDirectory() as elsewhere:
        run_in(elsewhere, backend, [python_of(folder), "-c", USE.format(others=others)])
        run_in(elsewhere, backend, [*kooler, "demo", "--help"], quiet=True)
        run_in(elsewhere, backend, [*kooler, "demo", "--minutes", "0.05"], quiet=True)
        if not (Path(elsewhere) / "runs" / "demo" / "report.html").is_file():
            raise SetupError(f"`kooler demo` left no report with {backend}")
    say(f"the wheel works with {backend} alone")


def run_in(place: str, backend: str, command: Iterable[object], quiet: bool = False) -> None:
    """Runs a command away from the checkout, with no path but that of its environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    output = subprocess.DEVNULL if quiet else None
    subprocess.run(
        [str(part) for part in command], cwd=place, env=environment, stdout=output, check=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
