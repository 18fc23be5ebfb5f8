"""Titles written without learning to write: what a model has to beat.

* `lead`: the first N words of the source, N = mean length of the titles of the training set.
* `first sentence`: the first sentence of the source.
* `best sentence`: the sentence most like the other sentences of the source (mean cosine of TF-IDF
  vectors, frequencies from the training sources); the reference plays no part in the choice.
  Erkan and Radev, "LexRank: Graph-based Lexical Centrality as Salience", 2004.
* `nearest title`: the title of the training pair whose source is most like this one (cosine of
  TF-IDF vectors).

`oracle_sentences` is no such baseline: it looks at the reference to choose the sentence, so it
says what copying one sentence could reach at most.

A word is a run of letters and digits, or one Chinese, Japanese or Korean character; a text
without any word (only emoji) is taken character by character.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from kooler.seq2seq.evaluate import CJK, rouge_tokens

TRAIN_LIMIT = 20_000
SOURCES_AT_ONCE = 256

_WORD = re.compile(f"[{CJK}]|[^\\W{CJK}]+")
_CLOSERS = "[\"'”’»)\\]」』）】》]*"
_ABBREVIATION = re.compile(
    r"(?:\b[A-Z]|\b(?:e\.g|i\.e|al|vs|cf|resp|Fig|Figs|Eq|Sec|No|Dr|Mr|Mrs|Ms|Prof|St))\.$"
)


def _sentence_end(start: str) -> re.Pattern[str]:
    """Where sentences end, if those of a Western script begin with the pattern `start`."""
    return re.compile(
        # A Chinese full stop ends a sentence at once, also a half-width one after a character;
        f"[。！？；｡]+{_CLOSERS}|(?<=[{CJK}])[.!?;]+{_CLOSERS}(?=\\s|[{CJK}]|$)"
        # elsewhere white space and the beginning of a sentence must follow,
        f"|[.!?…]+{_CLOSERS}(?=\\s+{start})"
        # unless the stop is a token of its own; a line always ends a sentence.
        "|(?<=\\s)[.!?](?=\\s)|\n"
    )


_CASED_SENTENCE_END = _sentence_end(r"[^\sa-z]")  # not "e.g. this"
_LOWER_CASE_SENTENCE_END = _sentence_end(r"\S")


def baselines(
    train_pairs: Iterable[tuple[str, str]],
    sources: Sequence[str],
    *,
    train_limit: int = TRAIN_LIMIT,
) -> dict[str, list[str]]:
    """Writes a title for each source in each of the four ways.

    Args:
        train_pairs: (source, title) pairs, streamed.
        sources: The texts to write titles for.
        train_limit: Number of training pairs kept, each with the same chance (seed 0); all of
            them if there are no more.

    Returns:
        "lead", "first sentence", "best sentence" and "nearest title", each with one title for
        each source, in the order of the sources.

    Raises:
        ValueError: If no training pair has a text, or `train_limit` is below 1.

    Example:
        >>> baselines([("Rain fell all day.", "Rain")], ["Snow fell. Then rain."])["nearest title"]
        ['Rain']
    """
    if train_limit < 1:
        raise ValueError(
            f"`train_limit` must be at least 1, received {train_limit}. "
            f"The default is {TRAIN_LIMIT}."
        )
    kept = _sample(train_pairs, train_limit)
    if not any(source.strip() for source, _ in kept):
        raise ValueError(
            "The baselines learn from training pairs, received none with a text as its source. "
            "Give at least one (source, title) pair."
        )
    vectors = _TextVectors([source for source, _ in kept])
    words = mean_title_words([title for _, title in kept])
    nearest = vectors.nearest(sources)
    return {
        "lead": [lead(source, words) for source in sources],
        "first sentence": [sentences(source)[0] for source in sources],
        "best sentence": [vectors.most_central(sentences(source)) for source in sources],
        "nearest title": [kept[index][1] for index in nearest],
    }


def oracle_sentences(sources: Sequence[str], references: Sequence[str]) -> list[str]:
    """Chooses the sentence of each source that is most like its reference: no fair baseline.

    Args:
        sources: The texts.
        references: Their true titles.

    Returns:
        For each source the sentence of the highest ROUGE-1 F1, the first one of equals.
    """
    return [
        max(sentences(source), key=lambda sentence: _overlap(sentence, reference))
        for source, reference in zip(sources, references, strict=True)
    ]


def sentences(text: str) -> list[str]:
    """Splits a text into sentences, by rules for English and Chinese.

    Args:
        text: Any text.

    Returns:
        Its sentences without surrounding white space, at least one (maybe empty).

    Example:
        >>> sentences("Storms, e.g. in No. 7 St. Mary Rd., hit. 船沉了。“救命！”")
        ['Storms, e.g. in No. 7 St. Mary Rd., hit.', '船沉了。', '“救命！”']
    """
    ends = _LOWER_CASE_SENTENCE_END if text.islower() else _CASED_SENTENCE_END
    found, start = [], 0
    for end in (match.end() for match in ends.finditer(text)):
        sentence = text[start:end].strip()
        if sentence and not _ABBREVIATION.search(sentence):
            found.append(sentence)
            start = end
    rest = text[start:].strip()
    return [*found, rest] if rest or not found else found


def lead(text: str, words: int) -> str:
    """Cuts a text after its first words.

    Args:
        text: Any text.
        words: Number of words to keep, at least 1.

    Returns:
        The text up to the end of that word.

    Example:
        >>> lead("Heavy rain, in the end, fell.", 3)
        'Heavy rain, in'
    """
    spans = [match.span() for match in _units(text)][:words]
    return text[: spans[-1][1]].strip() if spans else ""


def mean_title_words(titles: Sequence[str]) -> int:
    """Counts the words of titles.

    Args:
        titles: At least one title.

    Returns:
        The mean number of words, rounded, at least 1.
    """
    total = sum(len(_units(title)) for title in titles)
    return max(1, round(total / len(titles)))


class _TextVectors:
    """TF-IDF vectors of texts, on the scale of the training sources."""

    def __init__(self, train_sources: Sequence[str]) -> None:
        import numpy
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(analyzer=_terms, dtype=numpy.float32)
        self._train: Any = self._vectorizer.fit_transform(train_sources).T.tocsr()

    def nearest(self, sources: Sequence[str]) -> list[int]:
        """Index of the most similar training source; the first one of equals."""
        found: list[int] = []
        for start in range(0, len(sources), SOURCES_AT_ONCE):
            vectors = self._vectorizer.transform(sources[start : start + SOURCES_AT_ONCE])
            similarity = (vectors @ self._train).toarray()
            found.extend(similarity.argmax(axis=1).tolist())
        return found

    def most_central(self, parts: Sequence[str]) -> str:
        """The part of the highest mean similarity to the others; the first one of equals."""
        vectors = self._vectorizer.transform(parts)
        similarity = (vectors @ vectors.T).toarray()
        similarity[range(len(parts)), range(len(parts))] = 0
        return parts[int(similarity.sum(axis=1).argmax())]


def _sample(pairs: Iterable[tuple[str, str]], limit: int) -> list[tuple[str, str]]:
    """Keeps `limit` pairs of a stream, each with the same chance (Vitter's algorithm R)."""
    generator, kept = random.Random(0), []
    for index, pair in enumerate(pairs):
        if index < limit:
            kept.append(pair)
        elif (place := generator.randrange(index + 1)) < limit:
            kept[place] = pair
    return kept


def _units(text: str) -> list[re.Match[str]]:
    return list(_WORD.finditer(text)) or list(re.finditer(r"\S", text))


def _terms(text: str) -> list[str]:
    return [match.group() for match in _units(text.lower())]


def _overlap(sentence: str, reference: str) -> float:
    written, wanted = Counter(rouge_tokens(sentence)), Counter(rouge_tokens(reference))
    return 2 * (written & wanted).total() / max(1, written.total() + wanted.total())
