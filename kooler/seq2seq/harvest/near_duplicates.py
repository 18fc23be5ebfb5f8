r"""Which texts are nearly the same: Jaccard similarity of their word triples, found by MinHash.

    J(A, B)  =  |A ∩ B| / |A ∪ B|  ≥  threshold

Two sets agree in the smallest value of a random hash with probability J.  Signatures of `BANDS`
bands of `ROWS` such values each meet in some band with probability 1 − (1 − J^ROWS)^BANDS: 98.6 %
for J = 0.5, 99.999 % for J = 0.7.  What meets is compared exactly, so nothing is called near that
is not.

Broder, "On the resemblance and containment of documents", 1997,
https://doi.org/10.1109/SEQUEN.1997.666900
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Iterable

import numpy as np

BANDS, ROWS = 32, 3
THRESHOLD = 0.5
_PRIME = (1 << 31) - 1
_WORD = re.compile(r"[぀-ヿ㐀-鿿]|[^\W぀-ヿ㐀-鿿]+")


class NearDuplicates:
    """An index of texts that finds those that are nearly the same.

    Args:
        threshold: The least similarity, from 0 to 1.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold
        generator = np.random.default_rng(0)
        self._factor = generator.integers(1, _PRIME, BANDS * ROWS, dtype=np.int64)
        self._shift = generator.integers(0, _PRIME, BANDS * ROWS, dtype=np.int64)
        self._sets: list[frozenset[int]] = []
        self._bands: defaultdict[tuple[int, bytes], list[int]] = defaultdict(list)

    def add(self, text: str) -> None:
        """Puts a text into the index."""
        triples = triples_of(text)
        for band in self._keys(triples):
            self._bands[band].append(len(self._sets))
        self._sets.append(triples)

    def near(self, text: str) -> set[int]:
        """The numbers, in order of `add`, of the texts in the index that are nearly this one."""
        triples = triples_of(text)
        candidates = {index for band in self._keys(triples) for index in self._bands.get(band, ())}
        return {i for i in candidates if jaccard(triples, self._sets[i]) >= self.threshold}

    def has_near(self, text: str) -> bool:
        """Whether a text in the index is nearly this one."""
        return bool(self.near(text))

    def _keys(self, triples: frozenset[int]) -> Iterable[tuple[int, bytes]]:
        values = np.fromiter(triples, np.int64, len(triples))
        # products stay below 2^62: both factors are below 2^31
        hashed = (values[:, None] * self._factor + self._shift) % _PRIME
        least = hashed.min(axis=0).reshape(BANDS, ROWS)
        return [(band, row.tobytes()) for band, row in enumerate(least)]


def triples_of(text: str) -> frozenset[int]:
    """The hashes of all runs of three words; of all words where they are fewer."""
    words = _WORD.findall(text.lower()) or [text]
    width = min(3, len(words))
    runs = (words[start : start + width] for start in range(len(words) - width + 1))
    return frozenset(zlib.crc32(" ".join(run).encode()) % _PRIME for run in runs)


def jaccard(first: frozenset[int], second: frozenset[int]) -> float:
    """How much two sets have in common, from 0 to 1."""
    return len(first & second) / max(len(first | second), 1)
