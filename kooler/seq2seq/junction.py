"""Where the halves of a target meet: tokens written twice, or by neither half.

In `mid` the two tokens of a step do not see each other.  The last step writes both sides of the
middle, so the halves may write one thing twice ("the **the** city") or both wait for the other
("flood hits ▿ city").  A target of n tokens has its junction behind the first m = ⌈n/2⌉, and

    repeated   y[m−w:m] = y[m:m+w] for some w ≤ 3, and the reference does not hold these 2w tokens;
    missing    the reference holds y[m−1] and y[m] with one to three tokens between them, and never
               side by side.

The same place of a target that was written in another order is the control: what it shows there is
no artefact of the junction.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

WIDEST = 3  # tokens that are looked at on either side, or between

Tokens = Sequence[Any]  # ids or words


class Junction(NamedTuple):
    """What the middles of some targets look like.

    Attributes:
        targets: Targets with at least two tokens, so with two halves.
        repeated: Those in which the halves wrote the same, in percent.
        missing: Those in which both halves left something out, in percent.
    """

    targets: int
    repeated: float
    missing: float


def junction_artefacts(targets: Sequence[Tokens], references: Sequence[Tokens]) -> Junction:
    """Counts what went wrong in the middle.

    Args:
        targets: Tokens as they were written, in the order of reading, without EOS.
        references: The true tokens of each.

    Returns:
        Shares of the targets that have a middle.

    Raises:
        ValueError: If there are not as many references as targets.

    Example:
        >>> junction_artefacts([["flood", "hits", "hits", "city"]], [["flood", "hits", "city"]])
        Junction(targets=1, repeated=100.0, missing=0.0)
    """
    if len(targets) != len(references):
        raise ValueError(
            f"Each target needs one reference, received {len(targets)} targets and "
            f"{len(references)} references."
        )
    pairs = [
        (list(target), list(reference))
        for target, reference in zip(targets, references, strict=True)
        if len(target) > 1
    ]
    repeated = sum(repeats_in_the_middle(*pair) for pair in pairs)
    missing = sum(lacks_in_the_middle(*pair) for pair in pairs)
    return Junction(len(pairs), *(100 * n / max(len(pairs), 1) for n in (repeated, missing)))


def repeats_in_the_middle(target: Tokens, reference: Tokens) -> bool:
    """Whether both sides of the middle hold the same tokens, and the reference does not."""
    middle = (len(target) + 1) // 2
    for width in range(1, min(WIDEST, len(target) - middle) + 1):
        both = list(target[middle - width : middle + width])
        if both[:width] == both[width:] and not _holds(reference, both):
            return True
    return False


def lacks_in_the_middle(target: Tokens, reference: Tokens) -> bool:
    """Whether the reference has something between the two tokens of the middle."""
    middle = (len(target) + 1) // 2
    left, right = target[middle - 1], target[middle]
    if _holds(reference, [left, right]):
        return False
    return any(
        reference[place] == left and right in reference[place + 2 : place + 2 + WIDEST]
        for place in range(len(reference))
    )


def _holds(tokens: Tokens, part: Tokens) -> bool:
    """Whether `part` stands somewhere in `tokens`, without a gap."""
    starts = range(len(tokens) - len(part) + 1)
    return any(list(tokens[start : start + len(part)]) == list(part) for start in starts)
