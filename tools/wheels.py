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

from kooler.seq2seq.briefs import splits
for name, pairs in zip(("train", "dev", "test"), splits(60, 8, 8, seed=0)):
    with open(name + ".tsv", "w", encoding="utf-8") as file:
        file.writelines(f"{{text}}\\t{{title}}\\n" for text, title in pairs)

assert kooler.__file__.startswith(sys.prefix), kooler.__file__
met = [name for name in others if name in sys.modules or importlib.util.find_spec(name)]
assert not met, f"{{met}} beside {{backend}}"
print("kooler", kooler.__version__, "with", backend, "alone")
"""
SMALL = "--layers 1 --width 32 --heads 2 --feedforward 32 --vocabulary-size 300"
COMMANDS = (
    "demo --help",
    f"train --train train.tsv --dev dev.tsv --run run --updates 3 --warmup 1 {SMALL}",
    "evaluate --run run --test test.tsv --order mid --beam-size 1 --report report.html",
    "explain --run run --text Rain. --beam-size 2 --output explain.html",
    "export --run run --output model",
)
PAGES = ("report.html", "explain.html", "model/README.md")


def main(arguments: list[str]) -> int:
    """Builds the wheel and tries it with each backend; the exit status is 1 if anything failed."""
    folder, backends = Path(arguments[0]).absolute(), arguments[1].split(",")
    with tempfile.TemporaryDirectory() as place:
        try:
            wheel = build(Path(place))
            if missing := left_out(wheel, PROJECT):
                raise SetupError(f"{wheel.name} lacks {', '.join(missing)}")
            for backend in backends:
                place_of = folder.with_name(f"{folder.name}-{backend}")
                install(wheel, backend, place_of)
                use(backend, place_of)
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


def install(wheel: Path, backend: str, folder: Path) -> None:
    """Installs the wheel with one backend into a fresh environment."""
    shutil.rmtree(folder, ignore_errors=True)
    create(folder)
    say(f"installing {wheel.name}[{backend},seq2seq] into {folder}")
    log = folder / "install.log"
    command = [python_of(folder), "-m", "pip", "install", "--no-input", "--progress-bar=off"]
    command += ["--constraint", PROJECT / "constraints.txt", f"{wheel}[{backend},seq2seq]"]
    with log.open("w", encoding="utf-8") as record:
        if run_pip([str(part) for part in command], record):
            raise SetupError(f"{explanation(log.read_text('utf-8'))}\nAll is in {log}.")


def use(backend: str, folder: Path) -> None:
    """Does with the installed package what a user does; what fails is an error."""
    others = [name for name in BACKENDS if name != backend]
    with tempfile.TemporaryDirectory() as elsewhere:
        run_in(elsewhere, backend, [python_of(folder), "-c", USE.format(others=others)])
        for command in COMMANDS:
            run_in(elsewhere, backend, [python_of(folder).with_name("kooler"), *command.split()])
        if missing := [page for page in PAGES if not (Path(elsewhere) / page).is_file()]:
            raise SetupError(f"with {backend}, {', '.join(missing)} was not written")
    say(f"the wheel works with {backend} alone")


def run_in(place: str, backend: str, command: Iterable[object]) -> None:
    """Runs a command away from the checkout, with no path but that of its environment; what it
    prints is shown where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise SetupError(f"{backend}: exit status {done.returncode}:\n{said}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
