"""The rules of a search, and which of them no search can follow; known before Keras is there.

So the command line refuses an option before it loads a model or reads a text, with the words in
which `generate` refuses it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from kooler.seq2seq.sizes import POSITIONS

PRESETS = {
    "fast": "mid",
    "standard": "l2r",
}  # names of what an order is good for; "best" is one too
PARTNERS = ("rank", "all")
RANKINGS = ("score", "consensus")
STOPS = ("best", True, False)
LARGEST_BEAM = 1000  # memory grows with its square in `mid`; titles stop getting better long before


class Rules(NamedTuple):
    """What a search looks for."""

    beam_size: int = 5
    max_length: int = 64
    min_length: int = 0
    length_penalty: float = 1.0
    early_stopping: bool | str = "best"
    temperature: float | None = None  # sampling, if set
    top_k: int | None = None
    top_p: float | None = None
    partners: str = "rank"  # or "all": whom a hypothesis sees where directions see each other


def order_of(name: str) -> str:
    """The order behind a preset: "fast" is `mid`, half the steps; "standard" is `l2r`."""
    return PRESETS.get(name, name)


def check_search(rules: Rules, order: str, n_best: int, orders: Sequence[str]) -> None:
    """Raises ValueError for what no search can do.

    Args:
        rules: Of the search.
        order: "l2r", "r2l", "mid", "best", or a preset.
        n_best: How many targets are wanted.
        orders: What the model learned.
    """
    if order_of(order) not in (*orders, "best"):
        known = ", ".join((*orders, "best"))
        presets = " and ".join(f"{preset} means {PRESETS[preset]}" for preset in PRESETS)
        raise ValueError(
            f"`order` must be one of {known}, received order={order!r}. Of the presets, {presets}."
        )
    if not 1 <= rules.beam_size <= LARGEST_BEAM:
        raise ValueError(
            f"`beam_size` must be from 1 to {LARGEST_BEAM}, received beam_size={rules.beam_size}. "
            "1 is greedy, 5 is usual."
        )
    if not 1 <= n_best <= rules.beam_size:
        raise ValueError(
            f"`n_best` must be from 1 to `beam_size`, received n_best={n_best}, "
            f"beam_size={rules.beam_size}. Raise `beam_size`."
        )
    if rules.partners not in PARTNERS:
        raise ValueError(
            f"`partners` must be one of {', '.join(PARTNERS)}, received "
            f"partners={rules.partners!r}."
        )
    if rules.early_stopping not in STOPS:
        raise ValueError(
            "`early_stopping` must be 'best', True or False, received "
            f"early_stopping={rules.early_stopping!r}."
        )
    _check_lengths(rules)
    _check_sampling(rules)


def check_ranking(rank_by: str) -> None:
    """Raises ValueError for an unknown way to rank what was found."""
    if rank_by not in RANKINGS:
        raise ValueError(
            f"`rank_by` must be one of {', '.join(RANKINGS)}, received rank_by={rank_by!r}."
        )


def _check_lengths(rules: Rules) -> None:
    if not 0 <= rules.min_length <= rules.max_length or rules.max_length < 1:
        raise ValueError(
            f"Lengths must satisfy 0 ≤ min_length ≤ max_length and 1 ≤ max_length, received "
            f"min_length={rules.min_length}, max_length={rules.max_length}."
        )
    if rules.max_length >= POSITIONS:
        raise ValueError(
            f"`max_length` must be below the {POSITIONS} positions that the model knows, received "
            f"max_length={rules.max_length}."
        )
    if not 0 <= rules.length_penalty <= 10:
        raise ValueError(
            f"`length_penalty` must be from 0 to 10, received "
            f"length_penalty={rules.length_penalty}. 1 ranks by the mean of a token."
        )


def _check_sampling(rules: Rules) -> None:
    if rules.temperature is None and (rules.top_k is not None or rules.top_p is not None):
        raise ValueError(
            f"`top_k` and `top_p` shape samples, received top_k={rules.top_k}, top_p={rules.top_p} "
            "without `temperature`. Set temperature=1.0 to sample."
        )
    if rules.temperature is not None and not 0 < rules.temperature <= 100:
        raise ValueError(
            f"`temperature` must be above 0 and at most 100, received {rules.temperature}. "
            "For the most probable target leave it out and use beam_size=1."
        )
    if rules.top_k is not None and rules.top_k < 1:
        raise ValueError(f"`top_k` must be at least 1, received {rules.top_k}.")
    if rules.top_p is not None and not 0 < rules.top_p <= 1:
        raise ValueError(f"`top_p` must be above 0 and at most 1, received {rules.top_p}.")
