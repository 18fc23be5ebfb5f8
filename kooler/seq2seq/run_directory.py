"""A run directory: everything about one training, and all that `generate` needs.

    settings.json         the settings, the files it was trained on, the format version
    tokenizer.json        text to ids and back
    weights.safetensors   the weights to use: the best on the dev set so far
    checkpoints/          the last few states of the training, each a whole one
    log.jsonl             what was measured, one JSON object a line
    report.html           the report, where one was made
    data/                 the corpus as token ids
    corpus/               the texts that `kooler demo` makes, or that came from standard input
    lock                  the process that is writing here

Every file but the log is replaced in one step (see `atomic.py`).  The log is only appended to; a
line that a crash cut short is ignored, and a training that resumes drops the lines after its
checkpoint.
No file is executed, unpickled or imported, so a run directory of a stranger is safe to open.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kooler import __version__
from kooler.core.atomic import write_text
from kooler.seq2seq.array_files import FORMAT, Arrays, check_format, read_arrays, write_arrays
from kooler.seq2seq.lock import locked
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.tokenizer import Tokenizer


class Checkpoint(NamedTuple):
    """A state of the training.

    Attributes:
        update: The number of updates behind it.
        arrays: Weights, seeds and optimizer variables by name.
        facts: What the loop needs beside them: best dev loss and the like.
    """

    update: int
    arrays: Arrays
    facts: dict[str, Any]


class RunDirectory:
    """The files of one training.

    Args:
        path: The directory; nothing is read or made yet.

    Example:
        >>> run = RunDirectory("run")
        >>> with run.locked():
        ...     run.begin(Settings(), {"train": ["pairs.tsv"], "dev": ["dev.tsv"]})
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.settings_path = self.path / "settings.json"
        self.tokenizer_path = self.path / "tokenizer.json"
        self.weights_path = self.path / "weights.safetensors"
        self.log_path = self.path / "log.jsonl"
        self.report_path = self.path / "report.html"
        self.data_path = self.path / "data"
        self.corpus_path = self.path / "corpus"
        self.checkpoints_path = self.path / "checkpoints"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directory where missing and keeps other trainings out of it.

        Raises:
            ValueError: If another process is training in it, the path is a file, or nothing can be
                written there.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(
                f"the run directory must be a directory, received `{self.path}`, which is a file. "
                "Choose another path."
            )
        self._make()
        with locked(self.path / "lock"):
            self._remove_parts()
            yield

    def begin(self, settings: Settings, data: Mapping[str, Any]) -> None:
        """Turns an empty directory into a run, or one whose run failed before it learned anything.

        Args:
            settings: How to train.
            data: What to train on, as JSON knows it.

        Raises:
            ValueError: If there is a run already, or the directory holds something else.
        """
        self.check_fresh()
        self._clear()
        self.checkpoints_path.mkdir(exist_ok=True)
        self.data_path.mkdir(exist_ok=True)
        self.keep_settings(settings, data)  # last, since it is what makes the directory a run

    def check_fresh(self) -> None:
        """Raises ValueError if `begin` would."""
        if self.checkpoints() or self.weights_path.exists():
            raise ValueError(
                f"`{self.path}` already holds a run. Continue it with --resume, "
                "or choose a fresh run directory."
            )
        known = {"lock", self.corpus_path.name}
        if self.settings_path.exists():
            known |= {path.name for path in (*self._files_of_a_start(), *self._folders())}
        others = sorted({entry.name for entry in self.path.iterdir()} - known)
        if others:
            raise ValueError(
                f"a run directory must be empty at the start, but `{self.path}` holds "
                f"`{others[0]}`. Choose a fresh directory."
            )

    def keep_settings(self, settings: Settings, data: Mapping[str, Any]) -> None:
        """Writes settings.json."""
        content = {
            "format": FORMAT,
            "kooler": __version__,
            "settings": settings.to_dict(),
            "data": dict(data),
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_text(self.settings_path, text)

    def settings(self) -> Settings:
        """The settings of the run."""
        values = self._part("settings")
        try:
            return Settings.from_dict(values)
        except ValueError as error:
            raise ValueError(f"`{self.settings_path}`: {error}") from None

    def data(self) -> dict[str, Any]:
        """What the run is trained on."""
        return self._part("data")

    def save_checkpoint(self, checkpoint: Checkpoint, keep: Sequence[int]) -> None:
        """Writes a checkpoint, then removes all older ones but those of the updates in `keep`.

        Raises:
            OSError: If it cannot be written; the older ones are untouched then.
        """
        write_arrays(self._checkpoint_path(checkpoint.update), checkpoint.arrays, checkpoint.facts)
        for update in self.checkpoints():
            if update < checkpoint.update and update not in keep:
                self._checkpoint_path(update).unlink()

    def checkpoints(self) -> list[int]:
        """The updates of which there is a checkpoint, oldest first."""
        files = self.checkpoints_path.glob("*.safetensors")
        return sorted(int(file.stem) for file in files if file.stem.isdecimal())

    def checkpoint(self, update: int) -> Checkpoint:
        """Reads the checkpoint of an update."""
        arrays, facts = read_arrays(self._checkpoint_path(update))
        return Checkpoint(update, arrays, facts)

    def save_weights(self, arrays: Arrays, facts: Mapping[str, Any]) -> None:
        """Replaces the weights to use."""
        write_arrays(self.weights_path, arrays, facts)

    def weights(self) -> tuple[Arrays, dict[str, Any]]:
        """The weights to use, and the facts about them.

        Raises:
            ValueError: If there are none yet.
        """
        if self.settings_path.exists() and not self.weights_path.exists():
            raise ValueError(
                f"`{self.path}` has no weights yet; the first evaluation on the dev set writes "
                "them. Let `kooler train --resume` get that far."
            )
        self._content()
        return read_arrays(self.weights_path)

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the run.

        Raises:
            ValueError: If it is missing or damaged.
        """
        again = "`kooler train --resume` makes it again from the training files."
        try:
            return Tokenizer.load(self.tokenizer_path)
        except OSError as error:
            raise ValueError(f"`{self.tokenizer_path}`: {error.strerror}; {again}") from None
        except ValueError as error:
            raise ValueError(f"{error} Remove it, and {again}") from None

    def append_log(self, record: Mapping[str, Any]) -> None:
        """Adds one line to the log; on disk when this returns."""
        with self.log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def log(self) -> list[dict[str, Any]]:
        """The records of the log, oldest first."""
        if not self.log_path.exists():
            return []
        *lines, _cut = self.log_path.read_bytes().split(b"\n")  # what follows the last line end
        return [json.loads(line) for line in lines]

    def rewind_log(self, update: int) -> None:
        """Drops the records after an update, and a line that was cut short."""
        kept = [record for record in self.log() if record["update"] <= update]
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
        write_text(self.log_path, "".join(lines))

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "lock").touch()
        except OSError as error:
            raise ValueError(
                f"the run directory `{self.path}` cannot be written ({error.strerror}). "
                "Choose a path in a folder that takes files."
            ) from None

    def _clear(self) -> None:
        """Removes what a run that has learned nothing left behind, say because of a broken file."""
        for path in self._files_of_a_start():
            path.unlink(missing_ok=True)
        for folder in self._folders():
            shutil.rmtree(folder, ignore_errors=True)

    def _files_of_a_start(self) -> tuple[Path, ...]:
        return self.settings_path, self.tokenizer_path, self.log_path

    def _folders(self) -> tuple[Path, ...]:
        return self.data_path, self.checkpoints_path

    def _remove_parts(self) -> None:
        """Removes what killed processes left half written."""
        for folder in (self.path, self.checkpoints_path):
            for part in folder.glob(".*"):
                part.unlink()

    def _part(self, name: str) -> dict[str, Any]:
        part = self._content().get(name)
        if not isinstance(part, dict):
            raise ValueError(
                f"`{self.settings_path}` is damaged: `{name}` must be an object, "
                f"received {part!r}. Restore it from a copy, or train in a fresh run directory."
            )
        return part

    def _content(self) -> dict[str, Any]:
        if not self.settings_path.exists():
            raise ValueError(
                f"`{self.path}` is not a run directory, it has no settings.json. "
                "`kooler train` and `kooler demo` make one."
            )
        try:
            content = json.loads(self.settings_path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(self._no_settings(str(error))) from None
        if not isinstance(content, dict):
            raise ValueError(self._no_settings(f"an object was expected, found {content!r:.40}"))
        check_format(self.settings_path, content.get("format"))
        return content

    def _no_settings(self, problem: str) -> str:
        return (
            f"`{self.settings_path}` is no JSON that kooler wrote: {problem}. "
            "Restore it from a copy, or train in a fresh run directory."
        )

    def _checkpoint_path(self, update: int) -> Path:
        return self.checkpoints_path / f"{update:08}.safetensors"
