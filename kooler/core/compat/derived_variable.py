"""A weight that is computed, and the precision in which weights are read."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras.src.backend.common.variables import AutocastScope

from kooler.core.types import Tensor


class DerivedVariable(keras.Variable):
    """A variable without a value of its own, for the place in a layer where a weight stood.

    Relies on: layers and operations take the value of any `keras.Variable` by `value`, and the
    attributes that `Variable.__init__` sets.

    Args:
        like: The variable whose name, path, shape and dtype it has.
        compute: Gives the value.
        assign: Takes a value.
        sources: The variables it is computed from; they say whether it is trainable.
    """

    def __init__(
        self,
        like: Any,
        compute: Callable[[], Tensor],
        assign: Callable[[Tensor], None],
        sources: Sequence[Any],
    ) -> None:
        for name in _VARIABLE_ATTRIBUTES:
            object.__setattr__(self, name, getattr(like, name, None))
        for name in ("_value", "_initializer", "_regularizer", "_constraint"):
            object.__setattr__(self, name, None)
        object.__setattr__(self, "_overwrite_with_gradient", False)
        self.compute = compute
        self.take = assign
        self.sources = sources

    @property
    def value(self) -> Tensor:
        """What it is computed to be now."""
        return self._maybe_autocast(self.compute())

    def assign(self, value: Any) -> Tensor:
        """Sets the variables it is computed from, so that it has this value."""
        value = self._convert_to_tensor(value, dtype=self._dtype)
        if tuple(value.shape) != tuple(self._shape):
            raise ValueError(
                f"The weight {self._path!r} has the shape {tuple(self._shape)}, so no value of "
                f"shape {tuple(value.shape)} can be assigned to it."
            )
        self.take(value)
        return value

    @property
    def trainable(self) -> bool:
        """Whether any of its sources is trained."""
        return any(source.trainable for source in self.sources)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for source in self.sources:
            source.trainable = value


_VARIABLE_ATTRIBUTES = (
    "_name",
    "_path",
    "_shape",
    "_ndim",
    "_dtype",
    "_autocast",
    "_aggregation",
    "_synchronization",
    "_layout",
)


def autocast(dtype: str | None) -> contextlib.AbstractContextManager[Any]:
    """Within it, floating-point variables are read in `dtype`, as inside of a layer's `__call__`.

    With None they are read as they are.

    Relies on: `AutocastScope`, which `Layer.__call__` opens.
    """
    scope: contextlib.AbstractContextManager[Any] = AutocastScope(dtype)
    return scope
