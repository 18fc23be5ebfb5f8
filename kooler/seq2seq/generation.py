"""`generate` writes targets, `score` says how probable they are; both in any generation order.

`order="best"` lets every order of the model propose its candidates and every order score all of
them:

    score(y)  =  mean_order log p_order(y)  /  length(y)^α.

Left-to-right, right-to-left and from both ends make different mistakes; a target that all of them
find likely is rarely one (joint scoring of two directions: Liu et al., "Agreement on
Target-bidirectional Neural Machine Translation", 2016, https://aclanthology.org/N16-1046).
`rank_by="consensus"` takes the candidate that is most like the others instead (`consensus.py`).

Sources are sorted by length and run in batches of few fixed shapes, each of which is compiled once.
Where there are many batches, sentences that are done leave theirs (`compaction.py`): shapes that
are compiled for it are worth it then.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from keras import ops

from kooler.seq2seq.consensus import by_consensus, shares
from kooler.seq2seq.continuations import POSSIBLE
from kooler.seq2seq.course import Course
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.order import (
    ORDERS,
    sentence_of,
    tokens_per_step,
)
from kooler.seq2seq.reading import Sources, read
from kooler.seq2seq.reserved_ids import PAD, RESERVED
from kooler.seq2seq.rules import Rules, check_ranking, check_search, order_of
from kooler.seq2seq.scoring import candidate_scores
from kooler.seq2seq.search import steps_of
from kooler.seq2seq.shapes import cached, id_lists, source_batches
from kooler.seq2seq.shortlist import checked_shortlist
from kooler.seq2seq.synchronous_search import DIRECTIONS, half_of, synchronous_search

MANY = 16  # batches, from which on more shapes are compiled to be faster


class Generation(NamedTuple):
    """What `generate` wrote: the N best targets of each source, best first."""

    ids: np.ndarray  # int32 [B, N, T], without EOS, padded with 0
    scores: np.ndarray  # float32 [B, N], length-normalised; -inf where fewer than N exist
    log_probs: np.ndarray  # float32 [B, N]; under "best" the mean over the orders
    orders: np.ndarray  # str [B, N]: the order that wrote it


def generate(
    model: Seq2Seq,
    source: Any,
    *,
    order: str = "best",
    beam_size: int = 5,
    n_best: int = 1,
    length_penalty: float = 1.0,
    max_length: int | None = None,
    min_length: int = 0,
    banned_tokens: Sequence[int] = (),
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    early_stopping: bool | str = "best",
    partners: str = "rank",
    rank_by: str = "score",
    shortlist: Sequence[int] | None = None,
    batch_size: int = 64,
    compact: bool | None = None,
) -> Generation:
    """Writes a target for each source.

    Args:
        model: A trained model.
        source: int [B, S] token ids padded with 0, or a list of lists of ids.
        order: "l2r", "r2l", "mid", or "best" for the candidates of all the model's orders scored by
            all; a model whose directions see each other writes "best" in both at once, with half of
            the beam each.  Presets on the same weights: "fast" is "mid", "standard" is "l2r".
        beam_size: Hypotheses kept open at each step; 1 is greedy.
        n_best: How many targets to return for each source, at most `beam_size`.
        length_penalty: α; 0 prefers short targets, larger values prefer longer ones.
        max_length: The most tokens of a target; None is `model.max_length`.
        min_length: The fewest tokens of a target.
        banned_tokens: Ids that must not be written.
        temperature: Set to draw `beam_size` samples instead of searching; 1.0 is the model's
            distribution.
        top_k: Sample among the k most probable tokens only.
        top_p: Sample among the most probable tokens that together reach this probability.
        seed: Of the samples; those of a source depend on it and on the source's index only.
        early_stopping: "best" stops when `beam_size` hypotheses have finished and none that is open
            is more probable than they are; True when they have finished, as fairseq and CTranslate2
            do, which can lose what the model is surest of; False when none can enter any more.
        partners: Whom a hypothesis sees where directions see each other: "rank", the one of its
            rank on the other side, or "all", every one of them, which averages over all pairs (of a
            recurrent model).
        rank_by: Which candidates come first: "score", the likeliest, or "consensus", those that are
            most like all others, weighted by their scores; samples count equally.
        shortlist: Ids of the only tokens that are scored and written, which is faster; see
            `shortlist.py`.
        batch_size: Sources run together.
        compact: Whether sources that are done leave their batch, which is faster and compiles more
            shapes; None does so from 16 batches on.

    Returns:
        The targets with their scores.

    Raises:
        ValueError: For an order that the model did not learn, and for impossible limits.

    Example:
        >>> generate(model, [[17, 8, 25]], order="mid", beam_size=4).ids[0, 0]
    """
    rules = Rules(
        beam_size=beam_size,
        max_length=model.max_length if max_length is None else max_length,
        min_length=min_length,
        length_penalty=float(length_penalty),
        early_stopping=early_stopping,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        partners=partners,
    )
    check_search(rules, order, n_best, model.orders)
    check_ranking(rank_by)
    _check_compact(compact, temperature)
    order = order_of(order)
    _check_partners(model, rules, order)
    if order == "best" and model.writes_together:
        rules = rules._replace(beam_size=2 * half_of(beam_size))
    _check_banned(model, banned_tokens)
    listed = None if shortlist is None else checked_shortlist(model, shortlist)
    rows = id_lists(source, model.source_vocabulary_size)
    banned = None
    if banned_tokens:
        banned = np.zeros(model.vocabulary_size, "float32")
        banned[list(banned_tokens)] = 1.0
    if compact is None:
        compact = temperature is None and len(rows) >= MANY * batch_size
    found: list[list[Hypothesis]] = [[] for _ in rows]
    for indices, batch in source_batches(rows, batch_size):
        noise = None if temperature is None else _noise(indices, batch.shape[0], rules, seed)
        given: dict[str, Any] = {"banned": banned, "noise": noise, "shortlist": listed}
        written = hypotheses(model, batch, order, rules, compact=compact, **given)
        for index, best in zip(indices, written, strict=False):
            best = ranked(best, rank_by, sampled=noise is not None)
            found[index] = best[:n_best]
    return _generation(found, n_best)


class Hypothesis(NamedTuple):
    """One target, as read from left to right."""

    ids: tuple[int, ...]
    score: float
    log_prob: float
    order: str


def hypotheses(
    model: Seq2Seq,
    source: np.ndarray | Sources,
    order: str,
    rules: Rules,
    *,
    limit: int | None = None,
    banned: np.ndarray | None = None,
    noise: np.ndarray | None = None,
    shortlist: np.ndarray | None = None,
    compact: bool = False,
) -> list[list[Hypothesis]]:
    """The hypotheses of one batch, best first.

    Args:
        model: A trained model.
        source: int32 [B, S], padded with 0; or what `read` made of it, but for the "best" of two
            directions that are written together.
        order: "l2r", "r2l", "mid" or "best".
        rules: What to look for; each combination of them is compiled once.
        limit: The most tokens of a target, at most `rules.max_length`.  With it every shape
            follows from the other arguments, and nothing is compiled anew for another limit.
        banned: float32 [V], 1 for tokens that must not be written; None if all may be.
        noise: float32 [steps, B, K, 2] uniform numbers, for samples.
        shortlist: As `Course` takes it.
        compact: Whether sentences that are done leave the batch, which compiles more shapes.
    """
    if order == "best" and model.writes_together:
        rules = rules._replace(beam_size=2 * half_of(rules.beam_size))
    given = (rules, limit or rules.max_length, banned, noise)
    if order == "best" and model.writes_together:
        return _searched_together(model, cast(np.ndarray, source), *given)
    names = model.orders if order == "best" else (order,)
    sources = read(model, source) if len(names) > 1 else source  # one search reads for itself
    proposals = [_searched(model, sources, name, *given, shortlist, compact) for name in names]
    if order != "best":
        return proposals[0]
    return judged(model, sources, proposals, rules, rules.max_length if limit else 0)


def judged(
    model: Seq2Seq,
    source: np.ndarray | Sources,
    proposals: Sequence[list[list[Hypothesis]]],
    rules: Rules,
    length: int = 0,
) -> list[list[Hypothesis]]:
    """What the orders propose for each source, in the order of the score that all of them give.

    The proposals are padded to `length` tokens, or as far as they need if that is more.
    """
    unique = [_unique(groups) for groups in zip(*proposals, strict=True)]
    targets = [list(found) for found in unique]
    most = rules.beam_size * len(model.orders)
    scores = candidate_scores(model, source, targets, model.orders, most, length)
    log_probs = scores.mean(axis=1)
    return [_ranked(found, log_probs[row], rules) for row, found in enumerate(unique)]


def _unique(groups: Sequence[list[Hypothesis]]) -> dict[tuple[int, ...], str]:
    """The different targets that the orders propose, and the first order that proposes each."""
    found: dict[tuple[int, ...], str] = {}
    for hypothesis in (hypothesis for group in groups for hypothesis in group):
        found.setdefault(hypothesis.ids, hypothesis.order)
    return found


def _ranked(
    found: dict[tuple[int, ...], str], log_probs: np.ndarray, rules: Rules
) -> list[Hypothesis]:
    """Candidates by their joint score; of equals the first stays first."""
    hypotheses = []
    for (ids, name), log_prob in zip(found.items(), log_probs.tolist(), strict=False):
        score = log_prob / (len(ids) + 1) ** rules.length_penalty
        hypotheses.append(Hypothesis(ids, score, log_prob, name))
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def ranked(found: list[Hypothesis], rank_by: str, sampled: bool = False) -> list[Hypothesis]:
    """Candidates as they come by their score, or those most like all others first; `sampled` ones
    count equally.
    """
    if rank_by == "score" or len(found) < 2:
        return found
    counted = shares([hypothesis.score for hypothesis in found], sampled)
    return [found[place] for place in by_consensus([one.ids for one in found], counted)]


def _searched(
    model: Seq2Seq,
    source: np.ndarray | Sources,
    order: str,
    rules: Rules,
    limit: int,
    banned: np.ndarray | None,
    noise: np.ndarray | None,
    shortlist: np.ndarray | None,
    compact: bool,
) -> list[list[Hypothesis]]:
    """The hypotheses of one order."""
    if noise is not None:
        noise = noise[..., : tokens_per_step(order)]
    given: dict[str, Any] = {"banned": banned, "noise": noise, "shortlist": shortlist}
    course = Course(model, order, rules, source, limit=limit, **given)
    if compact:
        course.finish()
    else:
        course.run()
    tokens, log_probs, scores = course.pool()
    return [
        [
            finished(tokens[row, place], log_probs[row, place], scores[row, place], order)
            for place in np.flatnonzero(scores[row] > POSSIBLE)
        ]
        for row in range(len(scores))
    ]


def finished(stream: np.ndarray, log_prob: float, score: float, order: str) -> Hypothesis:
    """A place of a search's pool as a hypothesis."""
    ids = sentence_of(stream[stream != PAD], order)
    return Hypothesis(tuple(ids.tolist()), float(score), float(log_prob), str(order))


def _searched_together(
    model: Seq2Seq,
    source: np.ndarray,
    rules: Rules,
    limit: int,
    banned: np.ndarray | None,
    noise: np.ndarray | None,
) -> list[list[Hypothesis]]:
    """The hypotheses of both directions, written side by side."""
    given = {"banned": banned, "noise": None if noise is None else noise[..., :1]}
    given = {name: array for name, array in given.items() if array is not None}
    names = tuple(given)
    key = ("together", rules, names)
    function = cached(model, key, lambda: synchronous_search(model, rules, names))
    arguments = [source, np.array(limit, "int32"), *given.values()]
    tokens, log_probs, scores, side = (ops.convert_to_numpy(part) for part in function(*arguments))
    orders = np.array(DIRECTIONS)[side]
    return [
        [
            finished(*(part[row, place] for part in (tokens, log_probs, scores, orders)))
            for place in np.flatnonzero(scores[row] > POSSIBLE)
        ]
        for row in range(source.shape[0])
    ]


def _noise(indices: list[int], batch: int, rules: Rules, seed: int) -> np.ndarray:
    """float32 [steps, B, K, 2]: the uniform numbers of each source, from the seed and its index."""
    shape = (steps_of(rules.max_length, 1), rules.beam_size, 2)
    noise = np.zeros((shape[0], batch, *shape[1:]), "float32")
    for row, index in enumerate(indices):
        noise[:, row] = np.random.default_rng([seed, index]).random(shape, dtype="float32")
    return noise


def _generation(found: list[list[Hypothesis]], n_best: int) -> Generation:
    """Hypotheses as arrays."""
    longest = max((len(hypothesis.ids) for row in found for hypothesis in row), default=0)
    shape = (len(found), n_best)
    result = Generation(
        np.full((*shape, longest), PAD, "int32"),
        np.full(shape, -np.inf, "float32"),
        np.full(shape, -np.inf, "float32"),
        np.full(shape, "", f"<U{max(map(len, ORDERS))}"),
    )
    for row, hypotheses in enumerate(found):
        for place, hypothesis in enumerate(hypotheses):
            result.ids[row, place, : len(hypothesis.ids)] = hypothesis.ids
            result.scores[row, place] = hypothesis.score
            result.log_probs[row, place] = hypothesis.log_prob
            result.orders[row, place] = hypothesis.order
    return result


def _check_partners(model: Seq2Seq, rules: Rules, order: str) -> None:
    """Raises ValueError for pairs of all hypotheses where a model has none, or no cache for them.

    Where directions see each other in every layer, each pair would have states of its own.
    """
    known = order == "best" and model.writes_together and model.architecture == "recurrent"
    if rules.partners == "all" and not known:
        raise ValueError(
            "`partners='all'` needs order='best' and a model with architecture='recurrent', "
            f"leaky=True, whose decoders meet on top only; received order={order!r} and a "
            f"{type(model).__name__}. Take partners='rank'."
        )


def _check_compact(compact: bool | None, temperature: float | None) -> None:
    """Raises ValueError for samples, whose numbers are drawn for whole batches."""
    if compact and temperature is not None:
        raise ValueError(
            f"`compact` must be False with a `temperature`, received {temperature}: samples stay "
            "where they are in their batch. Leave it out."
        )


def _check_banned(model: Seq2Seq, banned_tokens: Sequence[int]) -> None:
    """Raises ValueError for ids that are no tokens of the model."""
    for token in banned_tokens:
        if not RESERVED <= token < model.vocabulary_size:
            raise ValueError(
                f"`banned_tokens` must hold ids from {RESERVED} to {model.vocabulary_size - 1}, "
                f"received {token}."
            )
