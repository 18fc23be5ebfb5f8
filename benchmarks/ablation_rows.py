"""The rows of the ablation: what is trained, and how each of them writes.

Rows that share a training (A3 and A4, the four of A6) share its run.  A row that needs another one
(a teacher, a second judge) names it, and the queue trains that first.
"""

from typing import Any, NamedTuple

ALL_ORDERS = ("l2r", "r2l", "mid")


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        training: The name of its training.
        order: What `generate` is asked for.
        text: What it shows.
        judge: The training of a second model that scores its candidates.
    """

    training: str
    order: str
    text: str
    judge: str | None = None


# what each training changes in the common settings
TRAININGS: dict[str, dict[str, Any]] = {
    "l2r": {"orders": ("l2r",)},
    "r2l": {"orders": ("r2l",)},
    "two": {"orders": ("l2r", "r2l")},
    "mid": {"orders": ("mid",)},
    "three": {"orders": ALL_ORDERS},
    "sync-both": {"architecture": "synchronous", "loss_on": "both"},
    "sync-gold": {"architecture": "synchronous", "loss_on": "gold"},
    "leaky": {"architecture": "synchronous", "leaky": True},
    "l2r-taught": {"orders": ("l2r",), "teacher": "l2r"},
    "mid-taught": {"orders": ("mid",), "teacher": "l2r"},
    "three-taught": {"orders": ALL_ORDERS, "teacher": "l2r"},
    "l2r-more": {"orders": ("l2r",), "pseudo": "sync-both"},
    "l2r-rdrop": {"orders": ("l2r",), "r_drop": 5.0},
    "three-rdrop": {"orders": ALL_ORDERS, "r_drop": 5.0},
}

ROWS = {
    "A0": Row("l2r", "l2r", "L2R only"),
    "A1": Row("r2l", "r2l", "R2L only"),
    "A2": Row("l2r", "l2r", "A0, re-scored by a separate A1", judge="r2l"),
    "A3": Row("two", "l2r", "L2R and R2L shared, writes L2R"),
    "A4": Row("two", "best", "A3 with joint re-scoring"),
    "A5": Row("mid", "mid", "both ends only"),
    "A5k": Row("mid-taught", "mid", "both ends, taught by A0"),
    "A0k": Row("l2r-taught", "l2r", "L2R, taught by A0: the control of A5k"),
    "A6l": Row("three", "l2r", "three orders shared, writes L2R (standard)"),
    "A6r": Row("three", "r2l", "three orders shared, writes R2L"),
    "A6m": Row("three", "mid", "three orders shared, from both ends (fast)"),
    "A6b": Row("three", "best", "three orders shared, re-scored (best)"),
    "A6k": Row("three-taught", "best", "A6b, taught by A0"),
    "A7": Row("sync-both", "best", "synchronous, loss on both sides (as published)"),
    "A7g": Row("sync-gold", "best", "synchronous, loss on the true side"),
    "A8": Row("l2r-more", "l2r", "L2R on the true and written targets of A7: its control"),
    "A9": Row("leaky", "best", "true targets on both sides: the leak"),
    "A10": Row("l2r-rdrop", "l2r", "A0 with R-Drop"),
    "A10b": Row("three-rdrop", "best", "A6b with R-Drop"),
}


def needed(names: list[str]) -> list[str]:
    """The trainings of some rows, each after those that it needs."""
    order: list[str] = []

    def add(name: str) -> None:
        for key in ("teacher", "pseudo"):
            if key in TRAININGS[name]:
                add(TRAININGS[name][key])
        if name not in order:
            order.append(name)

    for row in (ROWS[name] for name in names):
        for training in (row.training, row.judge):
            if training:
                add(training)
    return order
