"""Does a model read padding, and where does it begin?

The result for a sequence must not depend on how many zeros stand behind it.  `check_masks` runs
each sequence alone without padding and with some, watches what every layer and operator
returns, and compares the steps that both runs have.  The first that differs is where the result
starts to depend on padding; if a mask came that far and was dropped on the way, the report names
the operator or layer that dropped it as well:

    print(check_masks(model, ids))
    → 'global_average_pooling1d' depends on padding (its output differs by 0.31), because
      'multiply' dropped the mask.

What lies inside of a layer's own `call` is no layer: then the innermost layer around it is named.
A layer inside of another counts only if the outer one's result depends on padding too: a
bidirectional layer turns steps round and back, and what stands where in between is its own affair.
"""

import dataclasses
from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from kooler.core import compat
from kooler.core.hooks import hooked
from kooler.layers.repair_masks import operations_of


@dataclasses.dataclass(frozen=True)
class PaddingReport:
    """What `check_masks` found; it is true if the model is sound.

    Attributes:
        where: The first layer or operator whose result depends on padding, as a path of names
            below the model; None if there is none.
        difference: The greatest difference of its results.
        lost_at: The layers and operators, in order, that led to it, had a mask and passed none on;
            itself, if it has a mask and yet reads padding; nothing, if no mask was there.
    """

    where: str | None = None
    difference: float = 0.0
    lost_at: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.where is None

    def __str__(self) -> str:
        if self.where is None:
            return "The results do not depend on padding."
        text = f"{self.where!r} depends on padding (its output differs by {self.difference:.2g})"
        if not self.lost_at:
            return (
                f"{text}: no mask reached it, and no layer or operator before it dropped one. "
                "(What operators do inside of a `call` is not seen; they drop masks.)"
            )
        if self.lost_at == (self.where,):
            return f"{text}: it was given a mask, and does not use it."
        names = " and ".join(repr(name) for name in self.lost_at)
        return f"{text}, because {names} dropped the mask."


@dataclasses.dataclass
class _Event:
    """One call of a layer or operator."""

    path: str
    inputs: list[Any]
    has_mask: bool  # of an input, before the call: some layers take it away
    outputs: list[Any]
    around: "_Event | None"  # the call in which it happens


def check_masks(
    model: Any,
    ids: Any,
    *,
    padding: int = 3,
    left: bool = False,
    stress: bool = True,
    tolerance: float = 1e-5,
) -> PaddingReport:
    """Runs a model on the same sequences under different padding.

    Args:
        model: Any Keras model; its inputs must leave the number of steps open: `Input((None,))`.
        ids: Integers [rows, steps] that end in zeros, or a structure of such arrays.
        padding: How many zeros are added.
        left: Whether to add them on the left; a model with absolute positions will differ.
        stress: Whether to run once more with large numbers where a mask says padding, because a
            maximum over padding shows only if it lies there.
        tolerance: What counts as equal, relative to the greatest value if that is above one.

    Returns:
        A report that is true if nothing depends on padding, and says what does.
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"`model` must be a Keras model, received {model!r}.")
    arrays = [np.asarray(leaf) for leaf in tree.flatten(ids)]
    _check(model, arrays, padding)
    reports = []
    for row in range(len(arrays[0])):
        alone = [_trimmed(array[row]) for array in arrays]
        padded = [_padded(one, padding, left) for one in alone]
        short, long = (tree.pack_sequence_as(ids, one) for one in (alone, padded))
        expected = _events(model, short)
        for filling in (None, 100.0)[: 1 + stress]:
            events = _events(model, long, filling)
            reports.append(_compared(expected, events, left, tolerance))
    return next((report for report in reports if not report), PaddingReport())


def _check(model: Any, arrays: list[Any], padding: int) -> None:
    if padding < 1:
        raise ValueError(f"`padding` must be at least 1, received {padding}.")
    for array in arrays:
        if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer) or not len(array):
            raise ValueError(
                "`ids` must be integers [rows, steps] with zeros for padding, received an array "
                f"of shape {array.shape} and dtype {array.dtype}."
            )
        if not array.any(axis=1).all():
            raise ValueError("`ids` must not have a row of only zeros: it is no sequence.")
    inputs = getattr(model, "inputs", None) or []
    fixed = [tensor.shape for tensor in inputs if len(tensor.shape) > 1 and tensor.shape[1]]
    if fixed:
        raise ValueError(
            f"`model` takes sequences of exactly {fixed[0][1]} steps, so there is only one padding "
            "to run it under. Build it with keras.Input((None,)) and give it the same weights."
        )


def _trimmed(row: Any) -> Any:
    return row[: np.flatnonzero(row)[-1] + 1][None]


def _padded(row: Any, padding: int, left: bool) -> Any:
    return np.pad(row, ((0, 0), (padding, 0) if left else (0, padding)))


def _events(model: Any, inputs: Any, filling: float | None = None) -> list[_Event]:
    """All calls below the model, in the order in which they ended."""
    events: list[_Event] = []
    open_calls: list[_Event] = []

    def watch(operation: Any) -> Any:
        def hook(call: Any, *args: Any, **kwargs: Any) -> Any:
            given = _tensors((args, kwargs))
            masked = any(compat.mask_of(one) is not None for one in given)
            around = open_calls[-1] if open_calls else None
            inside = f"{around.path}/" if around is not None and around.around is not None else ""
            path = inside + operation.name
            event = _Event(path, given, masked, [], around)
            open_calls.append(event)
            try:
                outputs = call(*args, **kwargs)
            finally:
                open_calls.pop()
            if filling is not None and not event.has_mask:
                outputs = _filled(operation, outputs, given, filling)
            event.outputs = _tensors(outputs)
            events.append(event)
            return outputs

        return hook

    with hooked({operation: watch(operation) for operation in operations_of(model)}):
        model(inputs, training=False)
    return events


def _filled(operation: Any, outputs: Any, given: list[Any], filling: float) -> Any:
    """What a layer that makes a mask returns, with ±filling where the mask says padding."""
    if not isinstance(operation, keras.layers.Embedding | keras.layers.Masking):
        return outputs
    mask = operation.compute_mask(given[0])
    if mask is None:
        return outputs
    signs = ops.cumprod(-ops.ones_like(outputs), axis=-1)
    return ops.where(ops.expand_dims(mask, -1), outputs, filling * signs)


def _tensors(structure: Any) -> list[Any]:
    return [leaf for leaf in tree.flatten(structure) if hasattr(leaf, "shape")]


def _compared(
    alone: list[_Event], padded: list[_Event], left: bool, tolerance: float
) -> PaddingReport:
    pairs = _pairs(alone, padded)
    differences = {id(one): _difference(one, other, left) for one, other in pairs}
    for one, other in pairs:
        around = [differences.get(id(outer), float("inf")) for outer in _around(one)]
        if min([differences[id(one)], *around]) > tolerance:
            return PaddingReport(one.path, differences[id(one)], _losers(other, pairs))
    return PaddingReport()


def _around(event: _Event) -> list[_Event]:
    """The calls of layers in which one happens, up to the model, which does not count."""
    outer = event.around
    return [] if outer is None or outer.around is None else [outer, *_around(outer)]


def _pairs(alone: list[_Event], padded: list[_Event]) -> list[tuple[_Event, _Event]]:
    """The same call in both runs; a cell that is called once a step has no partner."""
    counts = [Counter(event.path for event in run) for run in (alone, padded)]
    waiting: dict[str, list[_Event]] = {}
    for event in padded:
        waiting.setdefault(event.path, []).append(event)
    same = [event for event in alone if counts[0][event.path] == counts[1][event.path]]
    return [(event, waiting[event.path].pop(0)) for event in same]


def _difference(one: _Event, other: _Event, left: bool) -> float:
    """The greatest difference on the steps that both have, relative to the greatest value."""
    worst = 0.0
    for first, second in zip(one.outputs, other.outputs, strict=False):
        a, b = _numbers(first), _numbers(second)
        if a is None or b is None or a.ndim != b.ndim:
            continue
        if any(m > n for m, n in zip(a.shape, b.shape, strict=True)) or not a.size:
            continue
        b = b[tuple(slice(-n, None) if left else slice(n) for n in a.shape)]
        gap = np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(a))))
        worst = max(worst, float("inf") if np.isnan(gap) else float(gap))
    return worst


def _numbers(tensor: Any) -> Any:
    """A tensor in NumPy, or None: inside of a compiled loop there are no numbers."""
    try:
        return np.asarray(ops.convert_to_numpy(tensor)).astype("float64")
    except Exception:
        return None


def _losers(culprit: _Event, pairs: list[tuple[_Event, _Event]]) -> tuple[str, ...]:
    """Who had a mask before the culprit and passed none on: of its ancestors, if any."""
    if culprit.has_mask:
        return (culprit.path,)
    before = []
    for one, other in pairs:
        if other is culprit:
            break
        if _loses(one, other):
            before.append(other)
    ancestors = _ancestors(culprit, [other for _, other in pairs])
    found = [event for event in before if id(event) in ancestors] or before
    return tuple(event.path for event in found)


def _loses(one: _Event, other: _Event) -> bool:
    """Whether a mask came in, the steps went out, and the mask did not."""
    sizes = zip(one.outputs, other.outputs, strict=False)
    has_steps = any(tuple(a.shape) != tuple(b.shape) for a, b in sizes)
    carries = any(compat.mask_of(output) is not None for output in other.outputs)
    return other.has_mask and has_steps and not carries


def _ancestors(event: _Event, events: list[_Event]) -> set[int]:
    maker = {id(output): one for one in events for output in one.outputs}
    found: set[int] = set()
    waiting = [event]
    while waiting:
        for tensor in waiting.pop().inputs:
            one = maker.get(id(tensor))
            if one is not None and id(one) not in found:
                found.add(id(one))
                waiting.append(one)
    return found
