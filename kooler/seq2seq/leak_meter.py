"""The leak meter: does a model that writes from both ends read its answers off the other side?

    together  =  NLL(→ y) + NLL(← y)        nats a token, each beside the other
    open      =  NLL of a token whose answer is not in sight

The reading shows each order beside their sum.  Two honest directions need about as much each as one
alone, so together is about 2 · open.  A model that sees the true target on the other side needs
next to nothing from the middle on.  Late in the training of such a model the *sum* of both falls
below what *one* direction needs: that is no fit, it is a leak (Su Jianlin's symptom,
https://kexue.fm/archives/6877).

A model that is nearly sure of every token has little left to read off, and an honest one whose
second halves follow from the first ones comes to together = open: below 0.1 nats the meter is mute.
"""

from collections.abc import Mapping
from typing import NamedTuple

LEAST = 0.1  # nats a token that one direction needs, for the meter to say anything


class LeakMeter(NamedTuple):
    """A reading, in nats per token.

    Attributes:
        left: What the left-to-right direction needs.
        right: What the other one needs.
        one: What one direction needs without a leak.
    """

    left: float
    right: float
    one: float

    @property
    def together(self) -> float:
        """The sum of both directions."""
        return self.left + self.right

    @property
    def leaks(self) -> bool:
        """Whether both directions together need less than one, and there is something to need."""
        return self.one >= LEAST and self.together < self.one

    def sentence(self) -> str:
        """The reading in words."""
        verdict = "no leak"
        if self.leaks:
            verdict = "WARNING, the model reads its answers off the other side"
        elif self.one < LEAST:
            verdict = "too little to tell a leak"
        return (
            f"leak meter: l2r {self.left:.2f} + r2l {self.right:.2f} = {self.together:.2f}, one "
            f"direction {self.one:.2f} nats a token: {verdict}"
        )


def leak_meter(losses: Mapping[str, float], one: float | None = None) -> LeakMeter:
    """Reads the meter.

    Args:
        losses: Metrics of a model with both directions: "nll_l2r", "nll_r2l", "nll_open".
        one: The loss of a model of one direction, if there is one; else "nll_open" stands for it.

    Example:
        >>> leak_meter(model.evaluate(data, return_dict=True)).leaks
    """
    alone = losses["nll_open"] if one is None else one
    return LeakMeter(losses["nll_l2r"], losses["nll_r2l"], alone)
