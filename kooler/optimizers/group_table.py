"""The table of parameter groups: what each does, and which variable went where."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from kooler.core import selectors
from kooler.optimizers.group import Group, innermost

HEADINGS = (
    "group", "selector", "variables", "weights", "optimizer", "rate", "decay", "clip",
)  # fmt: skip
NOTHING = "-"


def table(
    groups: Sequence[Group | None], optimizers: Sequence[Any], members: Sequence[Sequence[Any]]
) -> str:
    """Two tables, as text.

    Args:
        groups: The groups; the last is None, for the default.
        optimizers: The optimizer of each, None for a frozen group.
        members: The variables of each.
    """
    rows = [
        (_name(number, group), *_row(group, optimizer, variables))
        for number, (group, optimizer, variables) in enumerate(
            zip(groups, optimizers, members, strict=True)
        )
    ]
    places = [
        (_name(number, groups[number]), variable.path, str(tuple(variable.shape)))
        for number, variables in enumerate(members)
        for variable in variables
    ]
    return (
        _aligned([HEADINGS, *rows]) + "\n\n" + _aligned([("group", "variable", "shape"), *places])
    )


def _name(number: int, group: Group | None) -> str:
    return "default" if group is None else str(number)


def _row(group: Group | None, optimizer: Any, variables: Sequence[Any]) -> tuple[str, ...]:
    selector = "everything else" if group is None else selectors.shown(group.selector)
    counts = str(len(variables)), f"{sum(math.prod(v.shape) for v in variables):,}"
    if optimizer is None:
        return selector, *counts, "frozen", NOTHING, NOTHING, NOTHING
    inner = innermost(optimizer)
    clip = inner.clipnorm or inner.clipvalue
    return (
        selector,
        *counts,
        type(inner).__name__,
        _rate(group, inner),
        _text(inner.weight_decay),
        _text(clip),
    )


def _rate(group: Group | None, optimizer: Any) -> str:
    rate = f"{float(ops.convert_to_numpy(optimizer.learning_rate)):.3g}"
    if group is None or group.lr_multiplier == 1.0:
        return rate
    factor = group.lr_multiplier
    return f"{rate} × {'f(update)' if callable(factor) else f'{factor:.3g}'}"


def _text(value: float | None) -> str:
    return NOTHING if value is None else f"{float(value):.3g}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)
