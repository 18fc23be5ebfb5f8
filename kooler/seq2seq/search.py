"""One search loop for every generation order: beam search, greedy (beam 1), and sampling.

The loop knows no model and no text.  It is given a step function

    step(state, inputs [B, K, C], time)  →  logits [B, K, C, V], state

which scores the C tokens of the next step of K hypotheses of B sentences (C is 1 for `l2r` and
`r2l`, 2 for `mid`; the softmax of the logits is p), and a state whose tensors have B·K rows,
reordered as hypotheses are dropped and doubled.

Each step extends every hypothesis by its best continuations (`continuations.py`), which may finish
it.  A finished hypothesis leaves the beam for a pool and pays for nothing afterwards; one is taken
into the pool if it ranks among the K best of all continuations.  The pool is ordered by

    score  =  log p(y) / length(y)^α,

the length counting EOS, as in fairseq and CTranslate2.  `early_stopping` says when a sentence is
done.  A model that is sure of one hypothesis fills the other places of its beam with what nobody
means; that may end at once, and K of it may have finished before the one that is meant.

    "best"   K have finished, and no open one is more probable than the most probable of them
    True     K have finished, as in fairseq and CTranslate2
    False    no open one can still enter the pool

Everything has a fixed shape, a done sentence is frozen, and every result is complete: where the
length limit is reached, EOS is the only continuation left.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core.placing import placed
from kooler.core.types import Tensor
from kooler.seq2seq.ancestry import Ancestry
from kooler.seq2seq.continuations import (
    IMPOSSIBLE,
    POSSIBLE,
    Continuations,
    best_continuations,
    sampled_continuations,
)
from kooler.seq2seq.reserved_ids import PAD
from kooler.seq2seq.rules import Rules

Step = Callable[[Any, Tensor, Tensor], tuple[Tensor, Any]]


class Pool(NamedTuple):
    """The finished hypotheses of each sentence, best first."""

    tokens: Tensor  # int32 [B, K, slots]: streams without EOS, padded with 0
    log_probs: Tensor  # float32 [B, K]
    scores: Tensor  # float32 [B, K]; below POSSIBLE where the place is empty
    count: Tensor  # int32 [B]: how many have finished so far


class Beam(NamedTuple):
    """The open hypotheses of each sentence."""

    tokens: Tensor  # int32 [B, K, slots]
    log_probs: Tensor  # float32 [B, K]
    inputs: Tensor  # int32 [B, K, C]: what the next step reads


class Stage(NamedTuple):
    """A search between two steps."""

    time: Tensor  # int32 scalar: how many steps are behind it
    beam: Beam
    pool: Pool
    state: Any  # of the step function


def search(
    step: Step,
    state: Any,
    start: Tensor,
    rules: Rules,
    *,
    banned: Tensor | None = None,
    noise: Tensor | None = None,
    limit: Tensor | None = None,
) -> Pool:
    """Searches for the best targets.

    Args:
        step: Scores the next step of every hypothesis.
        state: A nest of tensors with B·K rows, handed from step to step.
        start: int32 [B, C], the start tags.
        rules: Beam size, limits, length penalty, sampling.
        banned: float32 [V], 1 for tokens that must not be written; None if all may be.
        noise: float32 [steps, B, K, C] uniform numbers in [0, 1), for sampling.
        limit: int32 scalar at most `rules.max_length`, which it replaces: what was compiled for the
            longest targets also searches for shorter ones.

    Returns:
        The K best finished hypotheses of each sentence.
    """
    steps = steps_of(rules.max_length, start.shape[1])
    stage = first_stage(state, start, rules, steps, together=noise is not None)
    if limit is not None:
        rules = rules._replace(max_length=limit)
    return stretched(step, stage, rules, steps, banned=banned, noise=noise).pool


def first_stage(
    state: Any, start: Tensor, rules: Rules, steps: int, together: bool = False
) -> Stage:
    """A search before its first step, with room for `steps`; `together` opens all places at once,
    for samples.
    """
    batch, per_step = start.shape
    beam_size = rules.beam_size
    slots = steps * per_step
    pool = Pool(
        ops.full((batch, beam_size, slots), PAD, dtype="int32"),
        ops.full((batch, beam_size), IMPOSSIBLE, dtype="float32"),
        ops.full((batch, beam_size), IMPOSSIBLE, dtype="float32"),
        ops.zeros((batch,), dtype="int32"),
    )
    beam = _first_beam(start, beam_size, slots, together)
    return Stage(ops.convert_to_tensor(0, dtype="int32"), beam, pool, state)


def grown(stage: Stage, steps: int) -> Stage:
    """The same stage, with room for `steps` steps."""
    slots = steps * stage.beam.inputs.shape[-1]
    missing = ((0, 0), (0, 0), (0, slots - stage.beam.tokens.shape[2]))
    if not missing[2][1]:
        return stage
    return stage._replace(
        beam=stage.beam._replace(tokens=ops.pad(stage.beam.tokens, missing)),
        pool=stage.pool._replace(tokens=ops.pad(stage.pool.tokens, missing)),
        state=stage.state.grown(steps),
    )


def stretched(
    step: Step,
    stage: Stage,
    rules: Rules,
    steps: int,
    *,
    until: Tensor | None = None,
    most_done: Tensor | None = None,
    banned: Tensor | None = None,
    noise: Tensor | None = None,
) -> Stage:
    """Steps of a search that has room for `steps`: to its end, or to step `until`, or until more
    than `most_done` sentences are done.
    """

    return _while(
        lambda *stage: goes_on(Stage(*stage), rules, until, most_done),
        lambda *stage: advanced(step, Stage(*stage), rules, banned=banned, noise=noise),
        stage,
        steps,
    )


def goes_on(
    stage: Stage, rules: Rules, until: Tensor | None = None, most_done: Tensor | None = None
) -> Tensor:
    """Whether there is another step, bool scalar; the arguments are those of `stretched`."""
    done = sentences_done(stage, rules)
    count = ops.sum(ops.cast(done, "int32"))
    going = count < done.shape[0]
    if most_done is not None:
        going = ops.logical_and(going, count <= most_done)
    return going if until is None else ops.logical_and(going, stage.time < until)


def sentences_done(stage: Stage, rules: Rules) -> Tensor:
    """Whether each sentence's pool is final, bool [B]."""
    return _done(stage.beam, stage.pool, rules)


def advanced(
    step: Step,
    stage: Stage,
    rules: Rules,
    *,
    banned: Tensor | None = None,
    noise: Tensor | None = None,
) -> Stage:
    """A search one step later; the arguments are those of `search`."""
    time, beam, pool, state = stage
    logits, state = step(state, beam.inputs, time)
    missing = 0 if banned is None else logits.shape[-1] - banned.shape[0]
    if missing:
        banned = ops.pad(banned, (0, missing))
    if noise is None:
        ways = best_continuations(beam.log_probs, logits, time, rules, banned)
    else:
        drawn = ops.take(noise, time, 0)
        ways = sampled_continuations(beam.log_probs, logits, time, rules, banned, drawn)
    pool = _collect(pool, beam, ways, time, rules)
    beam, parent = _go_on(beam, ways, time, rules, keep_places=noise is not None)
    return Stage(time + 1, beam, pool, _reordered(state, parent))


def opened(step: Step, stage: Stage, rules: Rules, *, banned: Tensor | None = None) -> Stage:
    """A search after its first step, with one row for each sentence: its places begin alike, with
    the same tags, and only the first of them counts.

    For a state that is an `Ancestry`, whose rows share their caches.
    """
    one = Beam(*(part[:, :1] for part in stage.beam))
    return advanced(step, stage._replace(beam=one), rules, banned=banned)


def steps_of(max_length: int, per_step: int) -> int:
    """Steps that suffice for `max_length` tokens and EOS."""
    return max_length // per_step + 1


def _while(condition: Any, body: Any, loop: Stage, steps: int) -> Any:
    """`ops.while_loop` over nests: Keras's TensorFlow and PyTorch loops want flat tuples."""
    flat = keras.tree.flatten(loop)

    def packed(values: tuple[Any, ...]) -> Any:
        return keras.tree.pack_sequence_as(loop, list(values))

    result = ops.while_loop(
        lambda *values: condition(*packed(values)),
        lambda *values: tuple(keras.tree.flatten(body(*packed(values)))),
        tuple(flat),
        maximum_iterations=steps,
    )
    return packed(result)


def _first_beam(start: Tensor, beam_size: int, slots: int, together: bool) -> Beam:
    """One empty hypothesis; `together` opens all places with it, as independent samples."""
    batch, per_step = start.shape
    only_first = ops.where(
        ops.equal(ops.arange(beam_size), 0), 0.0, 0.0 if together else IMPOSSIBLE
    )
    return Beam(
        ops.full((batch, beam_size, slots), PAD, dtype="int32"),
        ops.broadcast_to(ops.cast(only_first, "float32"), (batch, beam_size)),
        ops.broadcast_to(start[:, None, :], (batch, beam_size, per_step)),
    )


def _collect(pool: Pool, beam: Beam, ways: Continuations, time: Tensor, rules: Rules) -> Pool:
    """Takes the finished continuations that rank among the K best of all into the pool."""
    beam_size = rules.beam_size
    threshold = ops.top_k(ways.log_probs, beam_size)[0][:, -1:]
    open_still = ops.logical_not(_done(beam, pool, rules))[:, None]
    taken = ways.finished & (ways.log_probs >= threshold) & (ways.log_probs > POSSIBLE) & open_still
    log_probs, index = ops.top_k(ops.where(taken, ways.log_probs, IMPOSSIBLE), beam_size)
    length = ops.take_along_axis(ways.length, index, axis=1)
    new = Pool(
        _extended(beam, ways, index, time),
        log_probs,
        _score(log_probs, length, rules),
        ops.sum(ops.cast(log_probs > POSSIBLE, "int32"), axis=1),
    )
    scores, order = ops.top_k(ops.concatenate([pool.scores, new.scores], axis=1), beam_size)
    tokens = ops.concatenate([pool.tokens, new.tokens], axis=1)
    log_probs = ops.concatenate([pool.log_probs, new.log_probs], axis=1)
    return Pool(
        _rows(tokens, order),
        ops.take_along_axis(log_probs, order, axis=1),
        scores,
        pool.count + new.count,
    )


def _go_on(
    beam: Beam, ways: Continuations, time: Tensor, rules: Rules, keep_places: bool
) -> tuple[Beam, Tensor]:
    """The K best open continuations become the beam; `keep_places` keeps samples where they are."""
    beam_size = rules.beam_size
    log_probs = ops.where(ways.finished, IMPOSSIBLE, ways.log_probs)
    if keep_places:
        index = ops.broadcast_to(ops.arange(beam_size, dtype="int32"), log_probs.shape)
    else:
        log_probs, index = ops.top_k(log_probs, beam_size)
    parent = ops.take_along_axis(ways.parent, index, axis=1)
    alive = (log_probs > POSSIBLE)[..., None]
    inputs = ops.where(alive, _rows(ways.tokens, index), PAD)  # an empty place reads padding
    return Beam(_extended(beam, ways, index, time), log_probs, inputs), parent


def _extended(beam: Beam, ways: Continuations, index: Tensor, time: Tensor) -> Tensor:
    """The whole streams of the continuations `index` [B, K]."""
    earlier = _rows(beam.tokens, ops.take_along_axis(ways.parent, index, axis=1))
    written = _rows(ways.tokens, index)
    return placed(earlier, written, time * written.shape[-1], 2)


def _rows(tokens: Tensor, index: Tensor) -> Tensor:
    """Rows `index` [B, K] of tokens [B, M, n]."""
    shape = (*index.shape, tokens.shape[-1])
    return ops.take_along_axis(tokens, ops.broadcast_to(index[..., None], shape), axis=1)


def _reordered(state: Any, parent: Tensor) -> Any:
    """Each tensor's rows follow the hypothesis that they belong to."""
    batch, beam_size = parent.shape
    if beam_size == 1:
        return state
    if isinstance(state, Ancestry):
        return state.followed(parent)
    first = ops.arange(batch, dtype="int32")[:, None] * beam_size
    index = ops.reshape(first + ops.cast(parent, "int32"), (batch * beam_size,))
    return keras.tree.map_structure(lambda rows: ops.take(rows, index, axis=0), state)


def _score(log_probs: Tensor, length: Tensor, rules: Rules) -> Tensor:
    """The normalised score, log p / length^α; what is impossible stays so."""
    score = log_probs / ops.cast(length + 1, "float32") ** rules.length_penalty
    return ops.where(log_probs > POSSIBLE, score, IMPOSSIBLE)


def _done(beam: Beam, pool: Pool, rules: Rules) -> Tensor:
    """Whether each sentence's pool is final, bool [B]."""
    best_open = ops.max(beam.log_probs, axis=1)
    exhausted = best_open < POSSIBLE
    enough = pool.count >= rules.beam_size
    if rules.early_stopping == "best":
        return exhausted | (enough & (ops.max(pool.log_probs, axis=1) >= best_open))
    if rules.early_stopping:
        return exhausted | enough
    longest = ops.cast(rules.max_length + 1, "float32")
    reachable = best_open / longest**rules.length_penalty
    return exhausted | (pool.scores[:, -1] >= reachable)
