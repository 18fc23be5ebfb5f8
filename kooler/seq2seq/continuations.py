"""How the hypotheses of a search may go on: by their best tokens, or by drawn ones.

A step writes C tokens: 1 for `l2r` and `r2l`, 2 for `mid`.  A continuation *finishes* its
hypothesis when a slot writes EOS: with C = 1 it costs log p(EOS); with C = 2 the left slot's EOS
costs log p_left(EOS) alone, the right slot's costs log p_left(token) + log p_right(EOS).

    banned tokens       are left out before the best are taken
    EOS too early       is struck from them: one more than needed is taken
    anything too late   gives way to EOS, whose log p is known
"""

from typing import NamedTuple

from keras import ops

from kooler.core.types import Tensor
from kooler.seq2seq.reserved_ids import EOS, PAD
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.top_k import most_probable

IMPOSSIBLE = -1e9  # the log-probability of what must not happen
POSSIBLE = -1e8  # anything below cannot happen; sums of a few IMPOSSIBLEs stay finite in float32


class Continuations(NamedTuple):
    """Ways to go on, M for each sentence."""

    tokens: Tensor  # int32 [B, M, C]; the tokens of a step, PAD from EOS on
    parent: Tensor  # int32 [B, M]: the hypothesis that is extended
    log_probs: Tensor  # float32 [B, M]: of the whole hypothesis
    length: Tensor  # int32 [B, M]: tokens so far, without EOS
    finished: Tensor  # bool [B, M]


def best_continuations(
    log_probs: Tensor, logits: Tensor, time: Tensor, rules: Rules, banned: Tensor | None
) -> Continuations:
    """Every continuation that can rank among the K best finished or the K best open ones.

    Args:
        log_probs: float32 [B, K], of the open hypotheses; or [B, 1], of the first.
        logits: float32 [B, K, C, V], of the tokens of this step; or [B, 1, C, V].
        time: int32 scalar, how many steps are behind it.
        rules: The limits.
        banned: float32 [V], 1 for tokens that must not be written.
    """
    batch, places, per_step, _ = logits.shape
    if per_step == 2:
        best, tokens = _best_pairs(logits, time, rules, banned)  # [B, K, ways], [B, K, ways, 2]
    else:
        best, tokens, _ = _best_tokens(logits[:, :, 0], time, rules, banned)
        tokens = tokens[..., None]
    ways = best.shape[2]
    parent = ops.broadcast_to(ops.arange(places, dtype="int32")[None, :, None], best.shape)
    total = log_probs[..., None] + best
    return _continuations(
        ops.reshape(tokens, (batch, places * ways, per_step)),
        ops.reshape(parent, (batch, places * ways)),
        ops.reshape(total, (batch, places * ways)),
        time,
    )


def _best_tokens(
    logits: Tensor, position: Tensor, rules: Rules, banned: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The best tokens of a slot with logits [B, K, V]: K that may go on, and one that may be EOS.

    Returns:
        Their log p [B, K, ways], they themselves, and the log p of EOS [B, K, 1].
    """
    width = min(rules.beam_size + 1, logits.shape[2])
    added = None if banned is None else banned * _not_eos(banned.shape[0]) * IMPOSSIBLE
    best, tokens, total = most_probable(logits, width, added)
    is_eos = ops.equal(tokens, EOS)
    best = ops.where(is_eos & (position < rules.min_length), IMPOSSIBLE, best)
    end = logits[..., EOS : EOS + 1] - total
    end = ops.where(position < rules.min_length, IMPOSSIBLE, end)
    late = position >= rules.max_length  # then EOS is the only way
    first = ops.equal(ops.arange(width), 0)
    best = ops.where(late, ops.where(first, end, IMPOSSIBLE), best)
    return best, ops.where(late, EOS, tokens), end


def _best_pairs(
    logits: Tensor, time: Tensor, rules: Rules, banned: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The best pairs of a left and a right token, and EOS on the left.

    EOS on the left pays for no right token, so it can be the best way on although other left tokens
    are more probable: it is always among the ways.
    """
    left, lefts, end = _best_tokens(logits[:, :, 0], 2 * time, rules, banned)
    right, rights, _ = _best_tokens(logits[:, :, 1], 2 * time + 1, rules, banned)
    left = ops.where(ops.equal(lefts, EOS), IMPOSSIBLE, left)
    batch, beam_size, width = left.shape
    shape, flat = (batch, beam_size, width, width), (batch, beam_size, width * width)
    total = ops.reshape(left[..., :, None] + right[..., None, :], flat)
    lefts = ops.reshape(ops.broadcast_to(lefts[..., :, None], shape), flat)
    rights = ops.reshape(ops.broadcast_to(rights[..., None, :], shape), flat)
    ends = ops.full((batch, beam_size, 1, 2), EOS, dtype="int32")
    return (
        ops.concatenate([total, end], axis=2),
        ops.concatenate([ops.stack([lefts, rights], axis=-1), ends], axis=2),
    )


def _not_eos(vocabulary: int) -> Tensor:
    return ops.cast(ops.not_equal(ops.arange(vocabulary), EOS), "float32")


def _continuations(
    tokens: Tensor, parent: Tensor, log_probs: Tensor, time: Tensor
) -> Continuations:
    """Finds where the tokens of a step end."""
    per_step = tokens.shape[-1]
    is_eos = ops.cast(ops.equal(tokens, EOS), "int32")
    after = ops.cumsum(is_eos, axis=-1)  # [B, M, C]: 0 before EOS, at least 1 from it on
    written = ops.sum(ops.cast(ops.equal(after, 0), "int32"), axis=-1)
    return Continuations(
        ops.where(ops.equal(after, 0), tokens, PAD),
        parent,
        log_probs,
        time * per_step + written,
        written < per_step,
    )


def sampled_continuations(
    log_probs: Tensor,
    logits: Tensor,
    time: Tensor,
    rules: Rules,
    banned: Tensor | None,
    noise: Tensor,
) -> Continuations:
    """One continuation of each hypothesis, drawn with the uniform numbers `noise` [B, K, C]; the
    other arguments are those of `best_continuations`.
    """
    costs = ops.log_softmax(logits, axis=-1)
    limited = costs + _limits(time, logits.shape, rules, banned)
    tokens = _drawn(limited, noise, rules)  # [B, K, C]
    cost = ops.take_along_axis(costs, tokens[..., None], axis=-1)[..., 0]
    if tokens.shape[-1] == 2:
        ended = ops.equal(tokens[..., 0], EOS)
        total = cost[..., 0] + ops.where(ended, 0.0, cost[..., 1])
    else:
        total = cost[..., 0]
    places = ops.arange(tokens.shape[1], dtype="int32")
    parent = ops.broadcast_to(places, tokens.shape[:2])
    return _continuations(tokens, parent, log_probs + total, time)


def _limits(time: Tensor, shape: tuple[int, ...], rules: Rules, banned: Tensor | None) -> Tensor:
    """What this step forbids of logits of a shape [B, K, C, V], [C, V]: banned tokens, EOS too
    early, anything else too late.
    """
    *_, per_step, vocabulary = shape
    position = time * per_step + ops.arange(per_step, dtype="int32")  # [C]
    words = _not_eos(vocabulary)
    early = ops.cast(position < rules.min_length, "float32")[:, None]
    late = ops.cast(position >= rules.max_length, "float32")[:, None]
    forbidden = early * (1 - words) + late * words
    return (forbidden if banned is None else forbidden + banned * words) * IMPOSSIBLE


def _drawn(log_probs: Tensor, noise: Tensor, rules: Rules) -> Tensor:
    """Inverse-transform sampling of the tempered, truncated distribution; best tokens first."""
    vocabulary = log_probs.shape[-1]
    scaled, tokens = ops.top_k(
        log_probs / rules.temperature, min(rules.top_k or vocabulary, vocabulary)
    )
    probability = ops.exp(scaled - ops.logsumexp(scaled, axis=-1, keepdims=True))
    before = ops.cumsum(probability, axis=-1) - probability
    if rules.top_p is not None:
        probability = ops.where(before < rules.top_p, probability, 0.0)
    upto = ops.cumsum(probability, axis=-1)
    passed = ops.cast(upto <= noise[..., None] * upto[..., -1:], "int32")
    possible = ops.sum(ops.cast(probability > 0, "int32"), axis=-1)
    chosen = ops.minimum(ops.sum(passed, axis=-1), possible - 1)
    return ops.cast(ops.take_along_axis(tokens, chosen[..., None], axis=-1)[..., 0], "int32")
