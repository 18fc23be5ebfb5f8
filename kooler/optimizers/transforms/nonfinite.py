"""Gradients that are not finite: an overflow, a division by zero, a batch with a broken example.

`zero_nans` replaces single entries.  `skip_nonfinite` makes a whole step not happen: inside of
`GradientTransform` the weights, the memory of the inner optimizer and `iterations` stay as they
are, the step is counted and shows as `skipped_steps` in the logs.  After `max_consecutive` such
steps in a row nothing is learned any more and it is an error: on PyTorch at once, on JAX and
TensorFlow, whose compiled steps cannot raise, at the end of the epoch.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.optimizers.transforms.transform import Transform, each


def zero_nans() -> Transform:
    """Replaces each entry that is NaN by zero; infinities stay."""
    return Transform("zero_nans", {}, each(lambda g: ops.where(ops.isnan(g), ops.zeros_like(g), g)))


def skip_nonfinite(max_consecutive: int | None = 5) -> Transform:
    """Skips steps in which any gradient has an entry that is NaN or infinite.

    Called outside of `GradientTransform`, where no step can be skipped, it gives zeros instead.

    Args:
        max_consecutive: After so many skipped steps in a row: an error.  None: never.
    """
    return SkipNonfinite(max_consecutive)


class SkipNonfinite(Transform):
    """What `skip_nonfinite` makes: `GradientTransform` asks it whether the step is taken."""

    def __init__(self, max_consecutive: int | None) -> None:
        _check(max_consecutive)
        arguments = {"max_consecutive": max_consecutive}
        super().__init__("skip_nonfinite", arguments, self._zeros_if_not_finite)
        self.skipped = _counter("skipped_steps")
        self.in_a_row = _counter("skipped_in_a_row")
        self.longest = _counter("most_skipped_in_a_row")

    @property
    def state(self) -> list[Any]:
        """How many steps were skipped, how many in a row now, and at most."""
        return [self.skipped, self.in_a_row, self.longest]

    def judge(self, gradients: Sequence[Tensor]) -> Tensor:
        """Boolean scalar: whether all gradients are finite; counts if they are not."""
        found = [ops.all(ops.isfinite(gradient)) for gradient in gradients]
        finite = ops.all(ops.stack(found)) if found else ops.ones((), "bool")
        bad = ops.cast(ops.logical_not(finite), "int32")
        row = (self.in_a_row + 1) * bad
        self.skipped.assign(self.skipped + bad)
        self.in_a_row.assign(row)
        self.longest.assign(ops.maximum(self.longest, row))
        if keras.backend.backend() == "torch":
            self.check()
        return finite

    def check(self) -> None:
        """Raises if too many steps in a row were skipped; for Python, outside of compiled steps.

        Raises:
            FloatingPointError: `max_consecutive` was reached.
        """
        limit = self.arguments["max_consecutive"]
        longest = int(ops.convert_to_numpy(self.longest))
        if limit is None or longest < limit:
            return
        self.longest.assign(0)
        raise FloatingPointError(
            f"The gradients of {longest} steps in a row were not finite "
            f"(max_consecutive={limit}), so nothing was learned in them. Look for the first "
            "non-finite loss, lower the learning rate, or clip the gradients."
        )

    def _zeros_if_not_finite(
        self, gradients: Sequence[Tensor], variables: Sequence[Any]
    ) -> list[Tensor]:
        finite = self.judge(gradients)
        return [ops.where(finite, gradient, ops.zeros_like(gradient)) for gradient in gradients]


def _counter(name: str) -> Any:
    return keras.Variable(0, dtype="int32", trainable=False, name=name)


def _check(limit: Any) -> None:
    whole = isinstance(limit, int) and not isinstance(limit, bool)
    if limit is None or (whole and limit >= 1):
        return
    raise ValueError(
        "`max_consecutive` must be a whole number ≥ 1, or None for no limit, received "
        f"max_consecutive={limit!r}."
    )
