"""The second pass of a synchronous model: what it wrote itself, beside what is true.

The training set is decoded from time to time, greedily and in both directions, with the averaged
weights of that moment: at first each direction alone, later both together, as they will be used.
What comes out is the other stream of every pair until the next time.

A round is a file in the run directory, so a training that resumes goes on with the very streams
that it was killed with.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kooler.seq2seq.array_files import read_arrays, write_arrays
from kooler.seq2seq.generation import generate
from kooler.seq2seq.reserved_ids import PAD
from kooler.seq2seq.shapes import rounded
from kooler.seq2seq.spool import Ids, Spool
from kooler.seq2seq.synchronous import DECODED, SynchronousBidirectional

Streams = dict[str, list[Ids]]


def decode_both(
    model: SynchronousBidirectional, source: Any, *, together: bool = False, **options: Any
) -> dict[str, Ids]:
    """What a model writes for some sources, greedily, in both directions.

    Args:
        model: The model.
        source: int [B, S] token ids padded with 0, or a list of lists of ids.
        together: Whether each direction sees the other, as after the second pass, or not.
        options: More of what `generate` takes: `max_length`, `batch_size`, …

    Returns:
        "decoded_l2r" and "decoded_r2l", int32 [B, T], in the order of reading: what `fit` takes
        beside "source" and "target".
    """
    if together:
        found = generate(model, source, order="best", beam_size=2, n_best=2, **options)
        places = [np.argmax(found.orders == order, axis=1) for order in model.orders]
        rows = [found.ids[np.arange(len(found.ids)), place] for place in places]
    else:
        rows = [
            generate(model, source, order=order, beam_size=1, **options).ids[:, 0]
            for order in model.orders
        ]
    return dict(zip(DECODED, rows, strict=True))


class Rounds:
    """The other streams of a training set and a dev set, round after round.

    Args:
        folder: Where the files are.
        spools: The pairs by name, "train" and "dev".
        every: Updates in a round; the first one has no other streams.
    """

    def __init__(self, folder: Path, spools: dict[str, Spool], every: int) -> None:
        self.folder, self.spools, self.every = folder, spools, every
        self._streams: dict[str, Streams] = {}

    @property
    def is_second_pass(self) -> bool:
        """Whether there are other streams."""
        return bool(self._streams)

    def begins(self, update: int) -> bool:
        """Whether a round with other streams begins with this update."""
        return update > 0 and update % self.every == 0

    def begin(self, update: int, decode: Callable[[list[list[int]]], dict[str, Ids]]) -> None:
        """Decodes everything, unless a training that was killed here has done so.

        Args:
            update: The number of the next update, with which a round begins.
            decode: `decode_both` of the sources that it is given.
        """
        number = update // self.every
        if not self._path(number).exists():
            self._decode(number, decode)
        self._load(number)

    def take_up(self, updates: int) -> None:
        """Reads the streams that a training had after some updates.

        Raises:
            ValueError: If their file is gone.
        """
        number = max(updates - 1, 0) // self.every
        if number and not self._path(number).exists():
            raise ValueError(
                f"`{self._path(number)}` is missing, so the training cannot go on from update "
                f"{updates}. Restore it, or train in a fresh run directory."
            )
        if number:
            self._load(number)

    def beside(self, name: str, pairs: Sequence[int] | Ids, rows: int) -> dict[str, Ids]:
        """The other streams of some pairs, int32 [rows, T], in one of few lengths."""
        streams = [self._streams[name][stream] for stream in DECODED]
        chosen = [[stream[pair] for pair in pairs if pair >= 0] for stream in streams]
        longest = rounded(max((len(row) for part in chosen for row in part), default=0))
        found = {}
        for stream, part in zip(DECODED, chosen, strict=True):
            found[stream] = np.full((rows, longest), PAD, "int32")
            for place, row in enumerate(part):
                found[stream][place, : len(row)] = row
        return found

    def _decode(self, number: int, decode: Callable[[list[list[int]]], dict[str, Ids]]) -> None:
        arrays = {}
        for name, spool in self.spools.items():
            sources = [spool[pair][0].tolist() for pair in range(len(spool))]
            for stream, ids in decode(sources).items():
                arrays[f"{name}/{stream}/lengths"] = (ids != PAD).sum(axis=1).astype("int32")
                arrays[f"{name}/{stream}/ids"] = ids[ids != PAD].astype("int32")
        write_arrays(self._path(number), arrays, {"round": number})

    def _load(self, number: int) -> None:
        arrays, _ = read_arrays(self._path(number))
        self._streams = {name: _unpacked(arrays, name) for name in self.spools}

    def _path(self, number: int) -> Path:
        return self.folder / f"decoded-{number:04}.safetensors"


def _unpacked(arrays: dict[str, Ids], name: str) -> Streams:
    return {
        stream: np.split(
            arrays[f"{name}/{stream}/ids"], np.cumsum(arrays[f"{name}/{stream}/lengths"])[:-1]
        )
        for stream in DECODED
    }
