"""`generate` writes targets, `score` says how probable they are; both in any generation order.

`order="best"` lets every order of the model propose its candidates and every order score all of them:

    score(y)  =  mean_order log p_order(y)  /  length(y)^α.

Left-to-right, right-to-left and from both ends make different mistakes; a target that all of them find
likely is rarely one (joint scoring of two directions: Liu et al., "Agreement on Target-bidirectional
Neural Machine Translation", 2016, https://aclanthology.org/N16-1046).

Sources are sorted by length and run in batches of few fixed shapes, each of which is compiled once.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kooler.core.compiled import compiled
from kooler.core.types import Tensor
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.order import (
    ORDERS,
    SIDES,
    START_TAGS,
    check_order,
    layout,
    sentence_of,
    tokens_per_step,
)
from kooler.seq2seq.reserved_ids import PAD, RESERVED
from kooler.seq2seq.search import POSSIBLE, Rules, search, steps_of

LENGTH_BUCKET = 8  # lengths are rounded up to a multiple of it


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
    length_counts_eos: bool = True,
    early_stopping: bool = True,
    batch_size: int = 64,
) -> Generation:
    """Writes a target for each source.

    Args:
        model: A trained model.
        source: int [B, S] token ids padded with 0, or a list of lists of ids.
        order: "l2r", "r2l", "mid", or "best" for the candidates of all the model's orders scored by all.
        beam_size: Hypotheses kept open at each step; 1 is greedy.
        n_best: How many targets to return for each source, at most `beam_size`.
        length_penalty: α; 0 prefers short targets, larger values prefer longer ones.
        max_length: The most tokens of a target; None is `model.max_length`.
        min_length: The fewest tokens of a target.
        banned_tokens: Ids that must not be written.
        temperature: Set to draw `beam_size` samples instead of searching; 1.0 is the model's distribution.
        top_k: Sample among the k most probable tokens only.
        top_p: Sample among the most probable tokens that together reach this probability.
        seed: Of the samples; those of a source depend on it and on the source's index only.
        length_counts_eos: Whether the length in the score counts EOS.
        early_stopping: Stop at `beam_size` finished hypotheses; False goes on until none can enter.
        batch_size: Sources run together.

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
        length_counts_eos=length_counts_eos,
        early_stopping=early_stopping,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
    )
    _check(model, order, n_best, rules, banned_tokens)
    rows = _id_lists(source, model.source_vocabulary_size)
    banned = np.zeros(model.vocabulary_size, "float32")
    banned[list(banned_tokens)] = 1.0
    found: list[list[Hypothesis]] = [[] for _ in rows]
    for indices, batch in _batches(rows, batch_size):
        noise = None if temperature is None else _noise(indices, batch.shape[0], rules, seed)
        for index, hypotheses in zip(
            indices, _run(model, batch, order, rules, banned, noise), strict=False
        ):
            found[index] = hypotheses[:n_best]
    return _generation(found, n_best)


def score(
    model: Seq2Seq, source: Any, target: Any, *, order: str = "l2r", batch_size: int = 64
) -> np.ndarray:
    """The exact log-probability of each target in one order.

    Args:
        model: A trained model.
        source: int [B, S] token ids padded with 0, or a list of lists.
        target: int [B, T] token ids padded with 0, or a list of lists; no EOS.
        order: "l2r", "r2l" or "mid".
        batch_size: Pairs run together.

    Returns:
        log p(target | source), EOS included, float32 [B].

    Raises:
        ValueError: If the model did not learn `order` or the numbers of sources and targets differ.
    """
    check_order(order, model.orders)
    sources = _id_lists(source, model.source_vocabulary_size)
    targets = _id_lists(target, model.vocabulary_size, name="target")
    if len(sources) != len(targets):
        raise ValueError(
            f"`source` and `target` must be equally many, received {len(sources)} and {len(targets)}."
        )
    result = np.zeros(len(sources), "float32")
    for indices, batch in _batches(sources, batch_size):
        chosen = [[targets[index]] for index in indices]
        scores = _scores(model, batch, chosen, (order,))
        result[indices] = scores[: len(indices), 0, 0]
    return result


class Hypothesis(NamedTuple):
    """One target, as read from left to right."""

    ids: tuple[int, ...]
    score: float
    log_prob: float
    order: str


def _run(
    model: Seq2Seq, source: np.ndarray, order: str, rules: Rules, banned: np.ndarray, noise: Any
) -> list[list[Hypothesis]]:
    """The hypotheses of a batch, best first."""
    if order != "best":
        return _searched(model, source, order, rules, banned, noise)
    proposals = [_searched(model, source, name, rules, banned, noise) for name in model.orders]
    candidates = [
        list(dict.fromkeys((h.ids, h.order) for group in groups for h in group))
        for groups in zip(*proposals, strict=True)
    ]
    unique = [list({ids: name for ids, name in reversed(found)}.items()) for found in candidates]
    most = rules.beam_size * len(model.orders)
    scores = _scores(
        model, source, [[ids for ids, _ in found] for found in unique], model.orders, most
    )
    return [_ranked(found, scores[index].mean(axis=0), rules) for index, found in enumerate(unique)]


def _ranked(
    found: list[tuple[tuple[int, ...], str]], log_probs: np.ndarray, rules: Rules
) -> list[Hypothesis]:
    """Candidates by their joint score; the first of equals stays first."""
    hypotheses = []
    for (ids, name), log_prob in zip(found, log_probs, strict=False):
        length = len(ids) + 1 if rules.length_counts_eos else max(len(ids), 1)
        value = float(log_prob) / length**rules.length_penalty
        hypotheses.append(Hypothesis(ids, value, float(log_prob), name))
    return sorted(hypotheses, key=lambda hypothesis: -hypothesis.score)


def _searched(
    model: Seq2Seq, source: np.ndarray, order: str, rules: Rules, banned: np.ndarray, noise: Any
) -> list[list[Hypothesis]]:
    """The hypotheses of one order."""
    key = ("search", order, rules, noise is not None)
    function = _cached(model, key, lambda: _search_function(model, order, rules))
    arguments = (
        (source, banned)
        if noise is None
        else (source, banned, noise[..., : tokens_per_step(order)])
    )
    tokens, log_probs, scores = (ops.convert_to_numpy(part) for part in function(*arguments))
    result = []
    for row in range(source.shape[0]):
        found = []
        for place in np.flatnonzero(scores[row] > POSSIBLE):
            stream = tokens[row, place]
            ids = sentence_of(stream[stream != PAD], order)
            log_prob, value = float(log_probs[row, place]), float(scores[row, place])
            found.append(Hypothesis(tuple(ids.tolist()), value, log_prob, order))
        result.append(found)
    return result


def _search_function(model: Seq2Seq, order: str, rules: Rules) -> Callable[..., Any]:
    """The search of one order, from sources to the pool, as one function of arrays."""
    per_step, sides = tokens_per_step(order), SIDES[order]
    slots = steps_of(rules.max_length, per_step) * per_step

    def function(source: Tensor, banned: Tensor, noise: Tensor | None = None) -> Any:
        batch = source.shape[0]
        memory = model.encode(source)
        tags = ops.convert_to_tensor(np.array(START_TAGS[order], "int32"))
        start = ops.broadcast_to(tags, (batch, per_step))

        def step(caches: Any, inputs: Tensor, time: Tensor) -> tuple[Tensor, Any]:
            logits, caches = model.step(inputs, time, sides, caches, memory)
            return ops.log_softmax(ops.cast(logits, "float32"), axis=-1), caches

        caches = model.empty_caches(batch * rules.beam_size, slots)
        pool = search(step, caches, start, rules, banned=banned, noise=noise)
        return pool.tokens, pool.log_probs, pool.scores

    return compiled(function, model.variables)


def _scores(
    model: Seq2Seq,
    source: np.ndarray,
    targets: list[list[tuple[int, ...]]],
    orders: tuple[str, ...],
    most: int = 1,
) -> np.ndarray:
    """log p of the targets of each source, float [B, orders, most]."""
    longest = max((len(ids) for row in targets for ids in row), default=0)
    padded = np.zeros((source.shape[0], most, _rounded(longest)), "int32")
    for row, candidates in enumerate(targets):
        for place, ids in enumerate(candidates):
            padded[row, place, : len(ids)] = ids
    function = _cached(model, ("score", orders), lambda: _score_function(model, orders))
    return np.asarray(ops.convert_to_numpy(function(source, padded)))


def _score_function(model: Seq2Seq, orders: tuple[str, ...]) -> Callable[..., Any]:
    """Teacher-forced scores of several targets a source, its encoder run once."""
    indices = np.array([ORDERS.index(order) for order in orders], "int32")

    def function(source: Tensor, target: Tensor) -> Tensor:
        batch, most, length = target.shape
        rows = ops.reshape(ops.tile(target[:, None], (1, len(orders), 1, 1)), (batch, -1, length))
        order = ops.convert_to_tensor(np.repeat(indices, most)[None])
        streams = layout(rows, order)
        logits, _ = model.decode(streams, model.encode(source))
        log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        chosen = ops.take_along_axis(log_probs, streams.targets[..., None], axis=-1)[..., 0]
        total = ops.sum(ops.where(streams.weight > 0, chosen, 0.0), axis=-1)
        return ops.reshape(total, (batch, len(orders), most))

    return compiled(function, model.variables)


_FUNCTIONS: weakref.WeakKeyDictionary[Seq2Seq, dict[Any, Callable[..., Any]]] = (
    weakref.WeakKeyDictionary()
)


def _cached(model: Seq2Seq, key: Any, make: Callable[[], Any]) -> Callable[..., Any]:
    """Compiled functions live as long as their model."""
    functions = _FUNCTIONS.setdefault(model, {})
    if key not in functions:
        functions[key] = make()
    return functions[key]


def _batches(rows: list[list[int]], batch_size: int) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of similar length, padded to few shapes; rows of padding fill the last one."""
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for first in range(0, len(rows), batch_size):
        indices = by_length[first : first + batch_size]
        count = min(batch_size, 1 << (len(indices) - 1).bit_length())
        length = _rounded(max(len(rows[index]) for index in indices))
        batch = np.full((count, length), PAD, "int32")
        for row, index in enumerate(indices):
            batch[row, : len(rows[index])] = rows[index]
        yield indices, batch


def _rounded(length: int) -> int:
    return max(-(-length // LENGTH_BUCKET), 1) * LENGTH_BUCKET


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


def _id_lists(ids: Any, vocabulary_size: int, name: str = "source") -> list[list[int]]:
    """Rows of ids without padding; an id outside the vocabulary is an error."""
    rows = [[int(token) for token in row if token != PAD] for row in ids]
    for index, row in enumerate(rows):
        for token in row:
            if not RESERVED <= token < vocabulary_size:
                raise ValueError(
                    f"`{name}` must hold ids from {RESERVED} to {vocabulary_size - 1} (0 pads), "
                    f"received {token} in row {index}."
                )
    return rows


def _check(
    model: Seq2Seq, order: str, n_best: int, rules: Rules, banned_tokens: Sequence[int]
) -> None:
    """Raises ValueError for settings that no search can satisfy."""
    check_order(order, (*model.orders, "best"))
    if rules.beam_size < 1:
        raise ValueError(f"`beam_size` must be at least 1, received beam_size={rules.beam_size}.")
    if not 1 <= n_best <= rules.beam_size:
        raise ValueError(
            f"`n_best` must be from 1 to `beam_size`, received n_best={n_best}, "
            f"beam_size={rules.beam_size}. Raise `beam_size`."
        )
    if not 0 <= rules.min_length <= rules.max_length or rules.max_length < 1:
        raise ValueError(
            f"Lengths must satisfy 0 ≤ min_length ≤ max_length and 1 ≤ max_length, received "
            f"min_length={rules.min_length}, max_length={rules.max_length}."
        )
    for token in banned_tokens:
        if not RESERVED <= token < model.vocabulary_size:
            raise ValueError(
                f"`banned_tokens` must hold ids from {RESERVED} to {model.vocabulary_size - 1}, "
                f"received {token}."
            )
    _check_sampling(rules)


def _check_sampling(rules: Rules) -> None:
    if rules.temperature is None and (rules.top_k is not None or rules.top_p is not None):
        raise ValueError(
            f"`top_k` and `top_p` shape samples, received top_k={rules.top_k}, top_p={rules.top_p} "
            "without `temperature`. Set temperature=1.0 to sample."
        )
    if rules.temperature is not None and not rules.temperature > 0:
        raise ValueError(
            f"`temperature` must be positive, received {rules.temperature}. "
            "For the most probable target leave it out and use beam_size=1."
        )
    if rules.top_k is not None and rules.top_k < 1:
        raise ValueError(f"`top_k` must be at least 1, received {rules.top_k}.")
    if rules.top_p is not None and not 0 < rules.top_p <= 1:
        raise ValueError(f"`top_p` must be above 0 and at most 1, received {rules.top_p}.")
