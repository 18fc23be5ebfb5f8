"""How good are the titles: exact matches, ROUGE, BLEU, chrF, and how well each end is written.

All rates are percentages, 0 to 100, so that they stand in one table with BLEU and chrF.

* `exact`: titles equal to their reference, character for character (runs of white space count
  as one space).
* ROUGE-1, ROUGE-2, ROUGE-L: mean F1 over the titles.  A token is a run of `[a-z0-9]` of the
  lower-cased text, as in the rouge-score package, or one Chinese, Japanese or Korean character,
  which that package drops.  ROUGE-2 of a one-token title is 0, also when it is right.
* BLEU and chrF over the whole corpus, by sacrebleu, with the signature that makes them
  comparable.  BLEU is 0 where no reference has four tokens.
* first and last four: of the reference tokens at the first (last) four positions, the share that
  the title has at the same position, counted from the start (from the end).

Lengths and positions are counted in the tokens of the BLEU tokeniser, so they work for every
script.

C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004;
M. Post, "A Call for Clarity in Reporting BLEU Scores", 2018;
X. Zhang et al., "Asynchronous Bidirectional Decoding for Neural Machine Translation", 2018
(accuracy of the first and the last four tokens).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

BLEU_TOKENIZERS = ("auto", "13a", "intl", "zh", "char", "none")
END_TOKENS = 4

# One character each: kana, Chinese characters (with extensions), Hangul syllables.
CJK = (
    "\u3005-\u3007\u3041-\u3096\u30a1-\u30fa\u30fc"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af"
)
_ROUGE_TOKEN = re.compile(f"[a-z0-9]+|[{CJK}]")
_CJK_CHARACTER = re.compile(f"[{CJK}]")


class TitleScores(NamedTuple):
    """Scores of a list of titles; rates are percentages.

    Attributes:
        titles: Number of titles scored.
        exact: Share of titles equal to their reference.
        rouge_1: Mean F1 of single tokens.
        rouge_2: Mean F1 of pairs of tokens.
        rouge_l: Mean F1 of the longest common subsequence.
        bleu: Corpus BLEU.
        chrf: Corpus chrF2.
        first_tokens: Accuracy at the first four positions of the references.
        last_tokens: Accuracy at the last four positions of the references.
        length_ratio: Tokens written for each token of the references.
        mean_length: Mean number of tokens of a title.
        mean_reference_length: Mean number of tokens of a reference.
        references_without_tokens: References in which ROUGE sees no token at all (another
            script, only emoji); they count as 0 in ROUGE.
        bleu_signature: What sacrebleu did, for the comparison with other work.
        chrf_signature: The same for chrF.
    """

    titles: int
    exact: float
    rouge_1: float
    rouge_2: float
    rouge_l: float
    bleu: float
    chrf: float
    first_tokens: float
    last_tokens: float
    length_ratio: float
    mean_length: float
    mean_reference_length: float
    references_without_tokens: int
    bleu_signature: str
    chrf_signature: str


def evaluate_titles(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "auto",
    join_subwords: bool = False,
) -> TitleScores:
    """Scores titles against one reference each.

    Args:
        hypotheses: The titles written; an empty one scores 0.
        references: The true titles, none of them empty.
        tokenize: The sacrebleu tokeniser for BLEU, lengths and positions: "13a" (English and
            most languages), "intl", "zh" (Chinese), "char", or "none" for text whose tokens are
            already separated by spaces.  "auto" is "zh" if most reference tokens are Chinese,
            Japanese or Korean characters, else "13a"; `bleu_signature` says which.
        join_subwords: Whether to remove `@@ `, the mark of pieces of a word, on both sides first.

    Returns:
        The scores, rates in percent.

    Raises:
        ValueError: If the lists are empty or of unequal length, a reference is empty, or
            `tokenize` is unknown.

    Example:
        >>> evaluate_titles(["flood hits city"], ["flood hits the city"]).rouge_1
        85.71428571428571
    """
    _check_arguments(hypotheses, references, tokenize)
    hypotheses = [_clean(text, join_subwords) for text in hypotheses]
    references = [_clean(text, join_subwords) for text in references]
    bleu, chrf = _sacrebleu_metrics(references, tokenize)
    written = [bleu.tokenizer(text).split() for text in hypotheses]
    wanted = [bleu.tokenizer(text).split() for text in references]
    _check_references(references, wanted)
    rouge_1, rouge_2, rouge_l = _rouge(hypotheses, references)
    bleu_score = bleu.corpus_score(hypotheses, [references]).score
    chrf_score = chrf.corpus_score(hypotheses, [references]).score
    return TitleScores(
        titles=len(references),
        exact=_percent(sum(map(is_exact, hypotheses, references)), len(references)),
        rouge_1=rouge_1,
        rouge_2=rouge_2,
        rouge_l=rouge_l,
        bleu=bleu_score,
        chrf=chrf_score,
        first_tokens=_position_accuracy(written, wanted),
        last_tokens=_position_accuracy(_reversed(written), _reversed(wanted)),
        length_ratio=sum(map(len, written)) / sum(map(len, wanted)),
        mean_length=sum(map(len, written)) / len(written),
        mean_reference_length=sum(map(len, wanted)) / len(wanted),
        references_without_tokens=sum(not rouge_tokens(text) for text in references),
        bleu_signature=str(bleu.get_signature()),
        chrf_signature=str(chrf.get_signature()),
    )


def is_exact(title: str, reference: str) -> bool:
    """Whether a title equals its reference.

    Args:
        title: The title written.
        reference: The true title.

    Returns:
        True if they have the same characters, runs of white space counted as one space.
    """
    return title.split() == reference.split()


def check_bleu_tokenizer(tokenize: str) -> None:
    """Raises ValueError unless `tokenize` is one of BLEU's tokenisers."""
    if tokenize not in BLEU_TOKENIZERS:
        raise ValueError(
            f"`tokenize` must be one of {', '.join(BLEU_TOKENIZERS)}, received {tokenize!r}. "
            'Use "13a" for English, "zh" for Chinese, "none" for text already tokenised.'
        )


def rouge_tokens(text: str) -> list[str]:
    """Splits a text into the tokens that ROUGE counts.

    Args:
        text: Any text.

    Returns:
        Runs of `[a-z0-9]` of the lower-cased text, and single CJK characters, in order.

    Example:
        >>> rouge_tokens("BERT-base 模型")
        ['bert', 'base', '模', '型']
    """
    return _ROUGE_TOKEN.findall(text.lower())


def _check_arguments(hypotheses: Sequence[str], references: Sequence[str], tokenize: str) -> None:
    _check_titles("hypotheses", hypotheses)
    _check_titles("references", references)
    if len(hypotheses) != len(references):
        raise ValueError(
            f"Each title needs one reference, received {len(hypotheses)} titles and "
            f"{len(references)} references. Write an empty title where nothing was generated."
        )
    if not references:
        raise ValueError("There is nothing to score, received 0 titles. Give at least one pair.")
    check_bleu_tokenizer(tokenize)


def _check_titles(name: str, titles: Sequence[str]) -> None:
    if isinstance(titles, str):
        raise ValueError(
            f"`{name}` must be a list of titles, received the string {titles[:40]!r}. "
            "Put it into a list."
        )
    for index, title in enumerate(titles):
        if not isinstance(title, str):
            raise ValueError(
                f"`{name}` must hold strings, received {title!r} at index {index}. "
                'An empty title is "".'
            )


def _check_references(references: list[str], wanted: list[list[str]]) -> None:
    for index, (reference, tokens) in enumerate(zip(references, wanted, strict=True)):
        if not tokens:
            raise ValueError(
                f"A reference must have at least one token, received {reference!r} at index "
                f"{index}. Remove that pair from the test set."
            )


def _clean(text: str, join_subwords: bool) -> str:
    text = " ".join(text.split())
    return re.sub("@@( |$)", "", text) if join_subwords else text


def _sacrebleu_metrics(references: Sequence[str], tokenize: str) -> tuple[Any, Any]:
    from sacrebleu.metrics import BLEU, CHRF

    if tokenize == "auto":
        tokenize = "zh" if _mostly_cjk(references) else "13a"
    # `force` silences the warning that text looks tokenised: with "none" it is meant to be.
    return BLEU(tokenize=tokenize, force=tokenize == "none"), CHRF()


def _mostly_cjk(texts: Sequence[str]) -> bool:
    tokens = [token for text in texts for token in rouge_tokens(text)]
    return 2 * sum(map(bool, map(_CJK_CHARACTER.match, tokens))) > len(tokens)


class _RougeTokenizer:
    """The interface that rouge-score asks of a tokeniser."""

    tokenize: Callable[[str], list[str]] = staticmethod(rouge_tokens)


def _rouge(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, float, float]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_RougeTokenizer())
    totals = {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        for kind, score in scorer.score(reference, hypothesis).items():
            totals[kind] += score.fmeasure
    rouge_1, rouge_2, rouge_l = (_percent(total, len(references)) for total in totals.values())
    return rouge_1, rouge_2, rouge_l


def _position_accuracy(written: list[list[str]], wanted: list[list[str]]) -> float:
    """Share of right tokens among the first `END_TOKENS` positions of all references."""
    right = positions = 0
    for title, reference in zip(written, wanted, strict=True):
        heads = zip(title[:END_TOKENS], reference[:END_TOKENS], strict=False)
        right += sum(token == true_token for token, true_token in heads)
        positions += min(END_TOKENS, len(reference))
    return _percent(right, positions)


def _reversed(titles: list[list[str]]) -> list[list[str]]:
    return [tokens[::-1] for tokens in titles]


def _percent(part: float, whole: int) -> float:
    return 100 * part / whole
