"""What passes while a model runs: kept, counted, or replaced on its way.

A `Record` is shown every value at the places that somebody watches, in the order in which a model
computes them. It keeps those that are wanted, hands on a replacement for those that are patched,
and numbers the values of one place. Who shows it the values is not its business: the hooks of a
`Probe` do (`probe.py`), and so does `tap` in a user's own `call`.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from kooler.core.traces import current_trace
from kooler.core.types import Tensor
from kooler.models.tensor_names import Pattern


def tap(tensor: Tensor, name: str) -> Tensor:
    """Names a tensor in the `call` of a layer, so that `Capture` finds it by this name.

    Outside of a `Capture` it does nothing.

    Args:
        tensor: Any tensor.
        name: How it is to be called, without the path of the layer.

    Returns:
        The tensor; or its replacement, where a `Capture` replaces it.

    Example:
        >>> weights = tap(ops.softmax(scores), "attention")
    """
    for record in reversed(_open.records):
        tensor = record.visit(("tap", name), [name], tensor)
    return tensor


class Record:
    """The values that were seen during one run of a model.

    Args:
        wanted: What to keep.
        patches: What to replace: pairs of a pattern and a value or a function.
        added: Name → a tensor that is added to the value with this name.
    """

    def __init__(
        self,
        wanted: Sequence[Pattern],
        patches: Sequence[tuple[Pattern, Any]],
        added: Mapping[str, Tensor],
    ) -> None:
        self.wanted = wanted
        self.patches = patches
        self.added = added
        self.values: dict[str, Any] = {}
        self.seen: Counter[Any] = Counter()
        self.names: set[str] = set()
        self.applied: set[str] = set()
        self.elsewhere: set[str] = set()  # names of values from inside of a loop or a branch
        self._trace = current_trace()

    def visit(self, place: Any, bases: Sequence[str], value: Any) -> Any:
        """Hears of a value on its way, and says with which to go on.

        Args:
            place: Equal for values of the same origin, which are numbered.
            bases: The names of the place, without a number.
            value: A tensor, or whatever else is there.
        """
        number = self.seen[place]
        self.seen[place] += 1
        names = {base: f"{base}#{number}" if number else base for base in bases}
        self.names.update(names.values())
        for base, name in names.items():
            value = self._patched(base, name, number, value)
        for base, name in names.items():
            asked = [p for p in self.wanted if p.finds(base) and p.counts(number)]
            self.applied.update(pattern.text for pattern in asked)
            if any(is_tensor(value) or not pattern.many for pattern in asked):
                self.values[name] = value
                if current_trace() != self._trace:
                    self.elsewhere.add(name)
        return value

    def _patched(self, base: str, name: str, number: int, value: Any) -> Any:
        for pattern, patch in self.patches:
            if pattern.finds(base) and pattern.counts(number):
                self.applied.add(pattern.text)
                value = _replacement(name, patch, value)
        return value + self.added[name] if name in self.added else value


@contextmanager
def listening(record: Record) -> Iterator[None]:
    """Lets `tap` show a record what it names, in this thread, while the block runs."""
    _open.records.append(record)
    try:
        yield
    finally:
        _open.records.remove(record)


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor, or a structure of nothing but tensors."""
    leaves = keras.tree.flatten(value)
    return bool(leaves) and all(keras.ops.is_tensor(leaf) for leaf in leaves)


def _replacement(name: str, patch: Any, value: Any) -> Any:
    if callable(patch):
        new = patch(value)
    else:
        new = _constant(name, patch, value)
    wanted, given = getattr(value, "shape", None), getattr(new, "shape", None)
    if wanted is not None and tuple(wanted) != tuple(given or ()):
        raise ValueError(
            f"The tensor {name!r} has the shape {tuple(wanted)}, and `patch` puts one of shape "
            f"{tuple(given or ())} in its place. Both must be the same."
        )
    return new


def _constant(name: str, patch: Any, value: Any) -> Any:
    """A number or an array, in the shape and dtype of the tensor that it replaces."""
    if not hasattr(value, "dtype"):
        raise ValueError(
            f"{name!r} is no single tensor, so no value can stand in its place. Patch it with a "
            "function that takes and returns the same structure."
        )
    if isinstance(patch, str) or patch is None:
        raise TypeError(
            f"`patch` for {name!r} must be a number, an array or a function of the tensor, "
            f"received {patch!r}."
        )
    constant = ops.convert_to_tensor(patch, dtype=keras.backend.standardize_dtype(value.dtype))
    if not _broadcasts(tuple(constant.shape), tuple(value.shape)):
        raise ValueError(
            f"The tensor {name!r} has the shape {tuple(value.shape)}, the first axis being one "
            f"batch, to which a patch of shape {tuple(constant.shape)} cannot be broadcast."
        )
    return ops.broadcast_to(constant, ops.shape(value))


def _broadcasts(shape: tuple[Any, ...], to: tuple[Any, ...]) -> bool:
    surplus = len(to) - len(shape)
    pairs = zip((1,) * surplus + shape, to, strict=False)
    return surplus >= 0 and all(size in (1, wanted) or wanted is None for size, wanted in pairs)


class _Open(threading.local):
    """The records that are open in this thread, outermost first."""

    def __init__(self) -> None:
        self.records: list[Record] = []


_open = _Open()
