"""Text to token ids and back, without loss.

A vocabulary is laid out in one row of ids:

    0 … 5        reserved for the model, see `reserved_ids.py`; no text encodes to them
    6 … 261      the 256 bytes: what has no piece of its own is spelled in UTF-8
    262 …        pieces of text, learned

Three kinds of pieces:

    "bpe"         Parts of words, learned by byte pair encoding: the pair of pieces that occurs
                  most often becomes a piece, again and again.  A space belongs to the word
                  behind it, and one is put in front of the text (and taken away by `decode`),
                  so that a word is spelled alike at the start and inside.  Digits stand alone.
    "characters"  One character a piece, the most frequent ones; for Chinese.
    "words"       What white space separates, for text that is tokenised already.  No bytes: id
                  6 stands for every unknown word.  `decode` puts one space between words.

"bpe" and "characters" are lossless: `decode(encode(text)) == text` for every string that can be
written as UTF-8, be it emoji, control characters or the very names of the reserved ids.  "words"
is lossless for known words between single spaces.

With `lower_case` every text is written small before anything else is done with it, so that what is
lossless is the small text; `casing.py` gives a title its capitals back.

Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016,
https://arxiv.org/abs/1508.07909
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

import tokenizers
from tokenizers import models

from kooler.core.atomic import write_text
from kooler.seq2seq.pieces import (
    check_text,
    checked,
    learned_merges,
    most_frequent,
    sampled,
    splitter,
)
from kooler.seq2seq.reserved_ids import RESERVED

Kind = Literal["bpe", "characters", "words"]
FORMAT_VERSION = 1

_KINDS: tuple[Kind, ...] = get_args(Kind)
_RESERVED_NAMES = ("<pad>", "<eos>", "<l2r>", "<r2l>", "<mid-left>", "<mid-right>")
_BYTE_NAMES = tuple(f"<0x{byte:02X}>" for byte in range(256))  # as `tokenizers` spells them
_UNKNOWN = "<unk>"


class Tokenizer:
    """Turns text into token ids and ids into text.

    Made by `Tokenizer.train` or `Tokenizer.load`.

    Args:
        kind: "bpe", "characters" or "words".
        pieces: The learned pieces, in the order of their ids.
        merges: For "bpe", the pairs of pieces that become one, first things first.
        lower_case: Whether texts are written small before they are encoded.

    Example:
        >>> tokenizer = Tokenizer.train(texts, size=8000)
        >>> tokenizer.decode(tokenizer.encode("The bakery closes"))
        'The bakery closes'
    """

    def __init__(
        self,
        kind: Kind,
        pieces: Sequence[str],
        merges: Sequence[tuple[str, str]] = (),
        lower_case: bool = False,
    ) -> None:
        self._kind: Kind = kind
        self._lower_case = lower_case
        self._learned = tuple(pieces)
        self._merges = tuple(merges)
        self._names = (*_RESERVED_NAMES, *_fixed_names(kind), *self._learned)
        self._bytes = _bytes_by_id(kind, self._learned)
        first = self.size - len(self._learned)
        self._ids = {piece: first + i for i, piece in enumerate(self._learned)}
        if kind != "words":
            self._encoder = _subword_encoder(kind, self._ids, self._merges)

    @classmethod
    def train(
        cls, texts: Iterable[str], size: int, kind: Kind = "bpe", lower_case: bool = False
    ) -> Self:
        """Learns a vocabulary.

        The same texts in the same order give the same tokenizer, on every machine.  Memory is
        bounded: "characters" and "words" count what there is, "bpe" learns from a share of the
        texts, see `pieces.py`.

        Args:
            texts: Any number of texts, read once.
            size: The largest size of the vocabulary, reserved ids and bytes counted; a small
                corpus may give a smaller one.
            kind: "bpe", "characters" or "words".
            lower_case: Whether texts are written small, here and whenever they are encoded.

        Raises:
            ValueError: If `kind` is unknown, `size` too small, or there is no text.

        Example:
            >>> tokenizer = Tokenizer.train((pair.source for pair in read_pairs(path)), 8000)
        """
        count = size - _check_size(size, kind)
        texts = checked(texts)
        if lower_case:
            texts = map(str.lower, texts)
        if kind == "bpe":
            return cls(kind, *learned_merges(sampled(texts), count), lower_case)
        if kind == "characters":
            return cls(kind, most_frequent(texts, count), (), lower_case)
        words = ((word for word in text.split() if word != _UNKNOWN) for text in texts)
        return cls(kind, most_frequent(words, count), (), lower_case)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Reads a tokenizer from the file that `save` wrote.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is no tokenizer, damaged, or of a newer version of kooler.
        """
        try:
            return cls(*_from_json(Path(path).read_bytes()))
        except _UnusableFile as problem:
            raise ValueError(f"{path}: {problem}") from None

    def save(self, path: Path | str) -> None:
        """Writes the tokenizer to one JSON file, whole or not at all."""
        write_text(Path(path), self._as_json())

    @property
    def kind(self) -> Kind:
        """What the pieces are: "bpe", "characters" or "words"."""
        return self._kind

    @property
    def lower_case(self) -> bool:
        """Whether texts are written small before they are encoded."""
        return self._lower_case

    @property
    def size(self) -> int:
        """Number of ids, the reserved ones counted; all ids are below it."""
        return len(self._names)

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides how a text is encoded."""
        return hashlib.sha256(self._as_json().encode()).hexdigest()

    def as_read(self, text: str) -> str:
        """A text as it is before it is encoded: small, with `lower_case`."""
        return text.lower() if self._lower_case else text

    def encode(self, text: str) -> list[int]:
        """The ids of a text.

        Raises:
            ValueError: If the text holds half a surrogate pair.
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts; "bpe" and "characters" use all cores.

        Raises:
            ValueError: If a text holds half a surrogate pair.
        """
        texts = [self.as_read(text) for text in texts]
        if self._kind == "words":
            _check_texts(texts)
            return [[self._ids.get(word, RESERVED) for word in text.split()] for text in texts]
        space = " " if self._kind == "bpe" else ""
        try:
            spaced = [space + text if text else text for text in texts]
            encodings = self._encoder.encode_batch_fast(spaced, add_special_tokens=False)
        except TypeError:
            _check_texts(texts)
            raise
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a row of ids; reserved ids are skipped.

        Bytes that are no UTF-8, which a model may write but `encode` never does, become U+FFFD.

        Raises:
            ValueError: If an id is not in the vocabulary.
        """
        parts = [self._bytes[i] for i in map(self._checked, ids) if i >= RESERVED]
        if self._kind == "words":
            return b" ".join(parts).decode()
        text = b"".join(parts).decode(errors="replace")
        return text.removeprefix(" ") if self._kind == "bpe" else text

    def token(self, token_id: int) -> str:
        """The name of one id, to be shown: a space is written ▁, a byte <0x41>.

        Raises:
            ValueError: If the id is not in the vocabulary.
        """
        return self._names[self._checked(token_id)].replace(" ", "▁")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The names of a row of ids, one for each."""
        return [self.token(i) for i in ids]

    def __len__(self) -> int:
        return self.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self._as_json() == other._as_json()

    def __hash__(self) -> int:
        return hash(self._as_json())

    def __repr__(self) -> str:
        return f"Tokenizer(kind={self._kind!r}, size={self.size})"

    def _checked(self, token_id: int) -> int:
        if 0 <= token_id < self.size:
            return int(token_id)
        raise ValueError(
            f"the id {token_id} is not in the vocabulary, whose ids are 0 … {self.size - 1}. "
            "Is it from another tokenizer?"
        )

    def _as_json(self) -> str:
        fields: dict[str, Any] = {
            "format": "kooler tokenizer",
            "version": FORMAT_VERSION,
            "kind": self._kind,
            "pieces": self._learned,
            "merges": self._merges,
        }
        if self._lower_case:  # without it the file, and the fingerprint, are as they always were
            fields["lower_case"] = True
        return json.dumps(fields, ensure_ascii=False, indent=0) + "\n"


def _fixed_names(kind: Kind) -> tuple[str, ...]:
    return (_UNKNOWN,) if kind == "words" else _BYTE_NAMES


def _bytes_by_id(kind: Kind, pieces: Sequence[str]) -> list[bytes]:
    fixed = [_UNKNOWN.encode()] if kind == "words" else [bytes([i]) for i in range(256)]
    return [b""] * RESERVED + fixed + [piece.encode() for piece in pieces]


def _subword_encoder(
    kind: Kind, ids: dict[str, int], merges: Sequence[tuple[str, str]]
) -> tokenizers.Tokenizer:
    """The Rust encoder.

    Nothing is registered as a special token, which would be found inside the user's text.  No
    text can spell the name of a byte either: "<0" is never within one part of `splitter`.
    """
    vocabulary = {name: RESERVED + byte for byte, name in enumerate(_BYTE_NAMES)} | ids
    encoder = tokenizers.Tokenizer(models.BPE(vocabulary, list(merges), byte_fallback=True))
    if kind == "bpe":
        encoder.pre_tokenizer = splitter()
    return encoder


def _check_size(size: int, kind: Kind) -> int:
    """The number of ids that are not learned."""
    if kind not in _KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(_KINDS)}, received kind={kind!r}.")
    fixed = RESERVED + len(_fixed_names(kind))
    if size <= fixed:
        raise ValueError(
            f"`size` must be at least {fixed + 1} for kind={kind!r}, received size={size}: "
            f"{RESERVED} reserved ids and {fixed - RESERVED} for what has no piece come first."
        )
    return fixed


def _check_texts(texts: Sequence[str]) -> None:
    for text in texts:
        check_text(text)


class _UnusableFile(Exception):
    """Why a file is no tokenizer."""


def _from_json(content: bytes) -> tuple[Kind, list[str], list[tuple[str, str]], bool]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        raise _UnusableFile("is damaged or no tokenizer: it is not JSON.") from None
    if not isinstance(fields, dict) or fields.get("format") != "kooler tokenizer":
        raise _UnusableFile("is not a kooler tokenizer.")
    version = fields.get("version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise _UnusableFile(
            f"has format version {version}, but this kooler reads up to {FORMAT_VERSION}; "
            "upgrade kooler."
        )
    _check_fields(fields)
    merges = [(left, right) for left, right in fields["merges"]]
    return fields["kind"], fields["pieces"], merges, fields.get("lower_case", False)


def _check_fields(fields: dict[str, Any]) -> None:
    if fields.get("kind") not in _KINDS or fields.get("version") != FORMAT_VERSION:
        raise _UnusableFile("is damaged: it names no kind or no version that there is.")
    pieces: Any = fields.get("pieces")
    if not _are_texts(pieces) or not _are_pieces(fields["kind"], pieces):
        raise _UnusableFile("is damaged: the pieces are not a list of different texts.")
    known = set(pieces)
    merges: Any = fields.get("merges")
    if not isinstance(merges, list) or not all(_is_merge(pair, known) for pair in merges):
        raise _UnusableFile("is damaged: the merges are not pairs of its pieces.")
    if not isinstance(fields.get("lower_case", False), bool):
        raise _UnusableFile("is damaged: `lower_case` is neither true nor false.")


def _are_pieces(kind: Kind, texts: list[str]) -> bool:
    """Whether each can be written, and none takes the place of another or of a byte."""
    fixed = _fixed_names(kind)
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return len({*texts, *fixed}) == len(texts) + len(fixed)


def _is_merge(pair: Any, pieces: set[str]) -> bool:
    return _are_texts(pair) and len(pair) == 2 and pieces.issuperset([*pair, "".join(pair)])


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) and text for text in value)
