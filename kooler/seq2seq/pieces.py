"""What a tokenizer learns from text: which characters, words and parts of words get an id.

Everything here is a function of the texts and their order: neither the hash seed of Python nor
the number of cores changes the outcome.  Memory is bounded, however long the stream of texts.
"""

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

# Byte pair encoding looks at a sample of this size.  A text counts 100 characters more than it has,
# which it takes in memory; different words, of which text without spaces has many, take 200 bytes
# a character.
SAMPLE_CHARACTERS = 4_000_000
SAMPLE_WORD_CHARACTERS = 500_000
LONGEST_SAMPLE = 40_000  # of a longer text, its start
_TEXT_COST = 100

MAXIMUM_UNITS = 200_000  # different words that are counted at a time

# A space belongs to the word, digit or sign behind it; of several, only the last one does.
_SPLIT = r" ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"


def checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts as they are, if all can be encoded and one is there.

    Raises:
        ValueError: If there is no text, or one holds half a surrogate pair.
    """
    found = False
    for text in texts:
        check_text(text)
        found = found or bool(text.strip())
        yield text
    if not found:
        raise ValueError("there is no text to learn a vocabulary from.")


def most_frequent(texts: Iterable[Iterable[str]], count: int) -> list[str]:
    """The most frequent units of the texts; of equally frequent ones, the first by code point.

    Beyond `MAXIMUM_UNITS` different ones, the rarer half is forgotten.

    Args:
        texts: Each a row of units: words, or a string, whose units are its characters.
        count: How many units to return at most.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
        if len(counts) > MAXIMUM_UNITS:
            counts = Counter(dict(counts.most_common(MAXIMUM_UNITS // 2)))
    return sorted(counts, key=lambda unit: (-counts[unit], unit))[:count]


def sampled(texts: Iterable[str]) -> list[str]:
    """A share of the texts, in which every text is as likely as any other.

    Every text draws a number; those below a bound are kept, and the bound is halved whenever
    they become too many.  (Every second text would not do: source and target may alternate.)
    """
    draw = random.Random(0).random
    sample = _Sample()
    bound = 1.0
    for text in texts:
        mark = draw()
        if mark < bound:
            sample.add(mark, text[:LONGEST_SAMPLE])
        while sample.is_too_large():
            bound /= 2
            sample = sample.below(bound)
    return [text for _, text in sample.marked]


def learned_merges(texts: list[str], count: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Byte pair encoding: the pieces in the order of their making, and the merges that make them.

    Args:
        texts: What to learn from.
        count: How many pieces to make at most: the most frequent characters, up to half of
            them, then what they merge to.
    """
    characters = sorted(most_frequent([" ", *texts], max(1, count // 2)))
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = splitter()
    trainer = trainers.BpeTrainer(
        vocab_size=count,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
    )
    learner.train_from_iterator((" " + text for text in texts), trainer)
    learned = json.loads(learner.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    return pieces, [(left, right) for left, right in learned["merges"]]


def splitter() -> pre_tokenizers.PreTokenizer:
    """Cuts text into the parts within which pieces merge; together they are the whole text."""
    return pre_tokenizers.Split(tokenizers.Regex(_SPLIT), behavior="isolated")


def check_text(text: str) -> None:
    """Raises if `text` is no string that can be written as UTF-8.

    Raises:
        TypeError: If it is no string.
        ValueError: If it holds half a surrogate pair.
    """
    if not isinstance(text, str):
        raise TypeError(f"a text must be a str, received {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"U+{ord(text[error.start]):04X} at position {error.start} of the text is half a "
            "surrogate pair, not a character, and cannot be encoded. Remove it, or decode the "
            "text's bytes with errors='replace'."
        ) from None


class _Sample:
    """Texts, each with the number that it drew, and how much there is in them."""

    def __init__(self) -> None:
        self.marked: list[tuple[float, str]] = []
        self.characters = self.word_characters = 0
        self.words: set[str] = set()

    def add(self, mark: float, text: str) -> None:
        self.marked.append((mark, text))
        self.characters += len(text) + _TEXT_COST
        new = set(text.split()) - self.words
        self.words |= new
        self.word_characters += sum(map(len, new))

    def is_too_large(self) -> bool:
        return self.characters > SAMPLE_CHARACTERS or self.word_characters > SAMPLE_WORD_CHARACTERS

    def below(self, bound: float) -> "_Sample":
        kept = _Sample()
        for mark, text in self.marked:
            if mark < bound:
                kept.add(mark, text)
        return kept
