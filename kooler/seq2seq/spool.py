"""A corpus as token ids on disk: written once, read at random, never whole in memory.

    ids.bin        for each pair the ids of its source, then those of its target; uint16, or
                   uint32 for a vocabulary of more than 65,536
    lengths.bin    uint32 (pairs, 2): the lengths of source and target
    spool.json     written last: what the spool was made from, and what did not fit

In memory are the lengths and where each pair begins, 16 bytes a pair.  The ids are read with
`os.pread`: a mapped file would count as memory of the process, and grow with the corpus.

A source longer than `source_length` is cut: most titles follow from the start of a text.  A
target longer than `target_length` is another matter.  Cut, it would teach the model to stop in
the middle of a title, so the pair is dropped; for measuring, where every pair must keep its
place, `long_targets="cut"` keeps it.  Both are counted.
"""

import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from operator import index
from pathlib import Path
from typing import IO, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from kooler.core.atomic import replacing, write_text
from kooler.seq2seq.corpus import Pair
from kooler.seq2seq.reserved_ids import RESERVED

Ids = npt.NDArray[np.int32]
EncodeBatch = Callable[[Sequence[str]], list[list[int]]]

FORMAT_VERSION = 1
CHUNK_CHARACTERS = 500_000  # encoded at a time, at most, where texts are long


@dataclass
class SpoolCounts:
    """What went into a spool, and what did not fit.

    Args:
        pairs: Pairs in the spool.
        tokens: Ids in the spool.
        cut_sources: Sources that were longer than `source_length`.
        dropped_pairs: Pairs left out, because their target was longer than `target_length`.
        cut_targets: Such targets that were cut instead.
    """

    pairs: int = 0
    tokens: int = 0
    cut_sources: int = 0
    dropped_pairs: int = 0
    cut_targets: int = 0


class Spool:
    """The pairs of a corpus as token ids, on disk.

    `spool[i]` are the ids of one pair: source and target, int32, without padding or tags.

    Args:
        path: The directory in which `Spool.build` wrote it.

    Raises:
        ValueError: If there is no finished spool, or it is damaged or of a newer kooler.

    Example:
        >>> spool = Spool.build(
        ...     "run/data", read_pairs("train.tsv"), tokenizer.encode_batch,
        ...     fingerprint=corpus_fingerprint("train.tsv") + tokenizer.fingerprint,
        ...     vocabulary_size=tokenizer.size, source_length=128, target_length=32,
        ... )
        >>> source, target = spool[0]
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.origin, self.counts = _read_marker(self.path)
        self.source_length = int(self.origin["source_length"])
        self.target_length = int(self.origin["target_length"])
        self._type = _id_type(self.origin["vocabulary_size"])
        _check_sizes(self.path, self.counts, self._type)
        lengths = np.fromfile(self.path / "lengths.bin", "<u4").reshape(-1, 2)
        self.source_lengths: Ids = lengths[:, 0].astype(np.int32)
        self.target_lengths: Ids = lengths[:, 1].astype(np.int32)
        self._begins = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths.sum(axis=1, dtype=np.int64), out=self._begins[1:])
        self._file = os.open(self.path / "ids.bin", os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    @classmethod
    def build(
        cls,
        path: Path | str,
        pairs: Iterable[Pair],
        encode_batch: EncodeBatch,
        *,
        fingerprint: str,
        vocabulary_size: int,
        source_length: int,
        target_length: int,
        long_targets: Literal["drop", "cut"] = "drop",
        chunk: int = 1_000,
    ) -> Self:
        """Writes a spool, or opens the one that is there, if it was made from the same.

        Args:
            path: The directory to write to; it is made where missing.
            pairs: The corpus; not touched if the spool is there.
            encode_batch: Turns texts into ids, for example `tokenizer.encode_batch`.
            fingerprint: Stands for the corpus and the tokenizer; another one makes a new spool.
            vocabulary_size: Above every id.
            source_length: Longer sources are cut.
            target_length: Pairs with a longer target are dropped, or the target is cut.
            long_targets: "drop", or "cut" for measuring, where every pair keeps its place.
            chunk: How many pairs are encoded at a time, at most.

        Raises:
            ValueError: If an argument is wrong, a pair encodes to nothing, or none is left.
        """
        origin = {
            "fingerprint": fingerprint,
            "vocabulary_size": vocabulary_size,
            "source_length": source_length,
            "target_length": target_length,
            "long_targets": long_targets,
        }
        _check_origin(origin)
        path = Path(path)
        if not _is_made_from(path, origin):
            _write(path, _chunks(pairs, chunk), encode_batch, origin)
        return cls(path)

    def __len__(self) -> int:
        return len(self.source_lengths)

    def __getitem__(self, pair: int) -> tuple[Ids, Ids]:
        i = index(pair)
        if not -len(self) <= i < len(self):
            raise IndexError(f"pair {i} of a spool of {len(self)} pairs")
        ids, length = self.read([i % len(self)]), self.source_lengths[i]
        return ids[:length], ids[length:]

    def read(self, pairs: Iterable[int]) -> Ids:
        """The ids of several pairs in one row: source, target, source, target, and so on."""
        places = [(int(self._begins[i]), int(self._begins[i + 1])) for i in pairs]
        size = self._type.itemsize
        parts = [os.pread(self._file, (end - begin) * size, begin * size) for begin, end in places]
        return np.frombuffer(b"".join(parts), self._type).astype(np.int32)

    def lines(self) -> list[str]:
        """One line of text for each limit that was met; none if all pairs fit."""
        counts, pairs = self.counts, self.counts.pairs + self.counts.dropped_pairs
        source, target = f"{self.source_length:,} tokens", f"{self.target_length:,} tokens"
        told = [
            (counts.cut_sources, f"sources were longer than {source} and cut"),
            (counts.dropped_pairs, f"targets were longer than {target}, their pairs dropped"),
            (counts.cut_targets, f"targets were longer than {target} and cut"),
        ]
        return [f"{count:,} of {pairs:,} {text}" for count, text in told if count]


def _check_origin(origin: dict[str, Any]) -> None:
    for name in ("source_length", "target_length"):
        if origin[name] < 1:
            raise ValueError(f"`{name}` must be at least 1, received {name}={origin[name]}.")
    if origin["long_targets"] not in ("drop", "cut"):
        raise ValueError(
            '`long_targets` must be "drop" or "cut", received '
            f"long_targets={origin['long_targets']!r}."
        )


def _id_type(vocabulary_size: int) -> np.dtype[Any]:
    return np.dtype("<u2" if vocabulary_size <= 2**16 else "<u4")


def _is_made_from(path: Path, origin: dict[str, Any]) -> bool:
    try:
        found, counts = _read_marker(path)
        _check_sizes(path, counts, _id_type(found["vocabulary_size"]))
    except ValueError:
        return False
    return found == origin


def _read_marker(path: Path) -> tuple[dict[str, Any], SpoolCounts]:
    """What the spool was made from, and what is in it."""
    try:
        fields = json.loads((path / "spool.json").read_bytes())
        version = fields["version"]
        if version == FORMAT_VERSION:
            return dict(fields["origin"]), SpoolCounts(**fields["counts"])
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no finished spool; build it.") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path}: spool.json is damaged; build the spool again.") from None
    raise ValueError(
        f"{path}: the spool has format version {version}, this kooler reads {FORMAT_VERSION}; "
        "build the spool again."
    )


def _check_sizes(path: Path, counts: SpoolCounts, id_type: np.dtype[Any]) -> None:
    expected = {"ids.bin": counts.tokens * id_type.itemsize, "lengths.bin": counts.pairs * 8}
    for name, size in expected.items():
        file = path / name
        if not file.exists() or file.stat().st_size != size:
            raise ValueError(f"{file}: is missing or not of {size:,} bytes; build the spool again.")


def _chunks(pairs: Iterable[Pair], count: int) -> Iterator[list[Pair]]:
    """Groups of at most `count` pairs and, but for a longer pair, `CHUNK_CHARACTERS`."""
    group: list[Pair] = []
    characters = 0
    for pair in pairs:
        characters += len(pair.source) + len(pair.target)
        if group and (len(group) == count or characters > CHUNK_CHARACTERS):
            yield group
            group, characters = [], len(pair.source) + len(pair.target)
        group.append(pair)
    if group:
        yield group


def _write(
    path: Path, chunks: Iterable[list[Pair]], encode_batch: EncodeBatch, origin: dict[str, Any]
) -> None:
    """The marker goes first and comes back last, so that no half-written spool has one."""
    path.mkdir(parents=True, exist_ok=True)
    marker = path / "spool.json"
    marker.unlink(missing_ok=True)
    counts = SpoolCounts()
    with replacing(path / "ids.bin") as ids, replacing(path / "lengths.bin") as lengths:
        with ids.open("wb") as ids_file, lengths.open("wb") as lengths_file:
            for chunk in chunks:
                encoded = _encoded(chunk, encode_batch, origin, counts)
                _append(ids_file, lengths_file, encoded, origin["vocabulary_size"], counts)
        if not counts.pairs:
            raise ValueError(_nothing_left(counts, origin["target_length"]))
    fields = {"version": FORMAT_VERSION, "origin": origin, "counts": asdict(counts)}
    write_text(marker, json.dumps(fields, indent=2))


def _encoded(
    chunk: list[Pair], encode_batch: EncodeBatch, origin: dict[str, Any], counts: SpoolCounts
) -> list[list[int]]:
    """Sources and targets in turn, cut to their lengths, without the pairs to drop."""
    longest_source, longest_target = origin["source_length"], origin["target_length"]
    drop = origin["long_targets"] == "drop"
    rows: list[list[int]] = []
    sources = encode_batch([pair.source for pair in chunk])
    targets = encode_batch([pair.target for pair in chunk])
    for pair, source, target in zip(chunk, sources, targets, strict=True):
        if not source or not target:
            raise ValueError(f"a text encodes to no token: {pair!r:.200}")
        is_long = len(target) > longest_target
        if is_long and drop:
            counts.dropped_pairs += 1
            continue
        counts.cut_targets += is_long
        counts.cut_sources += len(source) > longest_source
        rows += [source[:longest_source], target[:longest_target]]
    return rows


def _append(
    ids_file: IO[bytes],
    lengths_file: IO[bytes],
    rows: list[list[int]],
    vocabulary_size: int,
    counts: SpoolCounts,
) -> None:
    ids = np.fromiter(chain.from_iterable(rows), np.int64)
    if len(ids) and not RESERVED <= ids.min() <= ids.max() < vocabulary_size:
        raise ValueError(
            f"ids must be from {RESERVED} to `vocabulary_size` - 1 = {vocabulary_size - 1}, "
            f"received {ids.min()} to {ids.max()}. Is `vocabulary_size` that of the tokenizer?"
        )
    ids_file.write(ids.astype(_id_type(vocabulary_size)).tobytes())
    lengths_file.write(np.array([len(row) for row in rows], "<u4").tobytes())
    counts.pairs += len(rows) // 2
    counts.tokens += len(ids)


def _nothing_left(counts: SpoolCounts, target_length: int) -> str:
    if not counts.dropped_pairs:
        return "there is no pair to write to the spool."
    return (
        f"no pair is left: all {counts.dropped_pairs:,} targets are longer than "
        f"`target_length`={target_length} tokens. Raise it."
    )
