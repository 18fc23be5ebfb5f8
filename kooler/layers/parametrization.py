"""What a parametrization is: a weight as a function of other numbers.

    weight = forward(original)          original = right_inverse(weight)

These two methods are all that one of your own needs:

    class Skew(Parametrization):
        def forward(self, x):
            return ops.triu(x, 1) - ops.transpose(ops.triu(x, 1))

        def right_inverse(self, w):
            return ops.triu(w, 1)

`right_inverse` says where training begins: forward(right_inverse(w)) is w, or what of w the
parametrization can express. It may return several originals; `forward` then takes as many. If the
last of them has the shape of the weight, it is kept in the very variable of the weight, and so
keeps its place in the optimizer.

Some need a memory that is not trained, as the singular vectors of a spectral norm: see
`initial_state` and `update`. A parametrization itself holds only settings, so one object may serve
many weights.
"""

from typing import Any

from keras import ops

from kooler.core.types import Tensor


class Parametrization:
    """A weight as a function of other numbers; override the first two methods."""

    def forward(self, *originals: Tensor, **state: Tensor) -> Tensor:
        """The weight.

        Args:
            *originals: What is trained instead of the weight.
            **state: What `initial_state` or `update` returned, if anything.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `forward(x)`.")

    def right_inverse(self, weight: Tensor) -> Any:
        """The original, or a tuple of originals, from which `forward` makes a weight."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `right_inverse(w)`, from which training begins."
        )

    def initial_state(self, weight: Tensor) -> dict[str, Tensor]:
        """What is remembered beside the originals, at the beginning and after an `assign`."""
        return {}

    def update(
        self, state: dict[str, Tensor], *originals: Tensor, training: bool
    ) -> dict[str, Tensor]:
        """The state to compute with now, through which no gradient goes.

        Args:
            state: What was remembered.
            *originals: What is trained.
            training: Whether the layer trains now; then the result will be remembered.
        """
        return state

    def for_variable(self, layer: Any, variable: Any) -> "Parametrization":
        """A version for one weight, where it matters which axes of the weight are which."""
        return self


class Chain(Parametrization):
    """Several parametrizations, one after the other; the first is next to the originals.

    Args:
        parts: The parametrizations. Only the first may have several originals.
    """

    def __init__(self, parts: list[Parametrization]) -> None:
        self.parts = parts

    def forward(self, *originals: Tensor, **state: Tensor) -> Tensor:
        """Each part of what the one before it made."""
        values = originals
        for number, part in enumerate(self.parts):
            values = (part.forward(*values, **_own(state, number)),)
        return values[0]

    def right_inverse(self, weight: Tensor) -> Any:
        """Each part's, the last first."""
        for part in self.parts[:0:-1]:
            weight = _single(part, part.right_inverse(weight))
        return self.parts[0].right_inverse(weight)

    def initial_state(self, weight: Tensor) -> dict[str, Tensor]:
        """The states of all parts, each for the weight that it has to make."""
        states: dict[str, Tensor] = {}
        for number, part in reversed(list(enumerate(self.parts))):
            states |= _named(part.initial_state(weight), number)
            if number:
                weight = _single(part, part.right_inverse(weight))
        return states

    def update(
        self, state: dict[str, Tensor], *originals: Tensor, training: bool
    ) -> dict[str, Tensor]:
        """The states of all parts, each after the ones before it."""
        states: dict[str, Tensor] = {}
        values = originals
        for number, part in enumerate(self.parts):
            own = part.update(_own(state, number), *values, training=training)
            states |= _named(own, number)
            values = (ops.stop_gradient(part.forward(*values, **own)),)
        return states

    def for_variable(self, layer: Any, variable: Any) -> "Chain":
        """The parts for one weight."""
        return Chain([part.for_variable(layer, variable) for part in self.parts])


def _named(state: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    return {f"{name}_{number}" if number else name: value for name, value in state.items()}


def _own(state: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    if not number:
        return {n: value for n, value in state.items() if not n.rpartition("_")[2].isdigit()}
    ending = f"_{number}"
    return {n.removesuffix(ending): value for n, value in state.items() if n.endswith(ending)}


def _single(part: Parametrization, original: Any) -> Tensor:
    if isinstance(original, tuple | list):
        raise ValueError(
            f"{type(part).__name__} has {len(original)} originals, so it must be the first "
            "parametrization of a weight. Apply it first, then the others."
        )
    return original
