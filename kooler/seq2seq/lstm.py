"""LSTMs side by side: C of them, each with weights and a state of its own, in one loop.

    i, f, g, o  =  W x + U h + b                      (in Keras's order)
    c           ←  σ(f) ⊙ c + σ(i) ⊙ tanh(g)
    h           ←  σ(o) ⊙ tanh(c)

A recurrent network reads, or writes, in two directions that know nothing of each other.  As two
layers they would be two loops one after the other, and a loop is what takes the time.  So the
direction is an axis, [N, L, C, width], next to the last.  W x + b is one product for all steps.

Axes: N rows, L steps, C directions, D numbers read, U units.

Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997; the bias of the forget gate begins at one
(Gers et al., "Learning to Forget", 1999).
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core.types import Tensor


class State(NamedTuple):
    """What an LSTM carries from step to step."""

    hidden: Tensor  # [N, C, U]
    cell: Tensor  # [N, C, U]


class LSTMs(keras.layers.Layer):
    """C LSTMs of equal size side by side.

    Args:
        units: U.
        copies: C.
    """

    def __init__(self, units: int, copies: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.units, self.copies = units, copies
        self.cell = Cell(units, copies, name="cell")
        self.loop = keras.layers.RNN(self.cell, return_sequences=True, name="loop")

    def build(self, input_shape: Any) -> None:
        """Makes the weights of all copies; the last axis of the shape is D."""
        gates = 4 * self.units
        self.kernel = self.add_weight(
            shape=(self.copies, input_shape[-1], gates),
            initializer=each_alone(keras.initializers.GlorotUniform),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(self.copies, gates), initializer=self._first_bias, name="bias"
        )
        self.loop.build((None, None, self.copies * gates))

    def call(self, x: Tensor) -> Tensor:
        """What the LSTMs make of whole sequences, from a state of zeros.

        Args:
            x: [N, L, C, D].

        Returns:
            The hidden state after each step, [N, L, C, U].
        """
        shape = ops.shape(x)
        projected = ops.einsum("nlcd,cdg->nlcg", x, self.kernel) + self.bias
        flat = ops.reshape(projected, (*shape[:2], self.copies * 4 * self.units))
        return ops.reshape(self.loop.call(flat), (*shape[:3], self.units))

    def step(self, x: Tensor, state: State, which: tuple[int, ...]) -> State:
        """One step of some of the copies.

        Args:
            x: [N, C′, D], what they read.
            state: Theirs, [N, C′, U].
            which: Their C′ numbers, neighbours.
        """
        chosen = slice(which[0], which[-1] + 1)
        projected = ops.einsum("ncd,cdg->ncg", x, self.kernel[chosen]) + self.bias[chosen]
        return self.cell.advance(projected, state, chosen)

    def _first_bias(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """Ones for the forget gates, zeros for the others."""
        quarter = (shape[0], self.units)
        zeros, ones = ops.zeros(quarter, dtype), ops.ones(quarter, dtype)
        return ops.concatenate([zeros, ones, zeros, zeros], axis=1)


class Cell(keras.layers.Layer):
    """One step of all LSTMs, as Keras's loop wants it: everything of a row in one axis."""

    def __init__(self, units: int, copies: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.units, self.copies = units, copies
        self.output_size = units * copies
        self.state_size = [self.output_size, self.output_size]

    def build(self, input_shape: Any = None) -> None:
        """Makes U of each copy."""
        self.recurrent_kernel = self.add_weight(
            shape=(self.copies, self.units, 4 * self.units),
            initializer=each_alone(keras.initializers.Orthogonal),
            name="recurrent_kernel",
        )

    def call(
        self, projected: Tensor, states: list[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """One step: W x + b [N, C·4U] and the two parts of the state, each [N, C·U]."""
        shape = (-1, self.copies, self.units)
        state = State(*(ops.reshape(part, shape) for part in states))
        gates = ops.reshape(projected, (-1, self.copies, 4 * self.units))
        flat = [
            ops.reshape(part, (-1, self.output_size))
            for part in self.advance(gates, state, slice(None))
        ]
        return flat[0], flat

    def advance(self, projected: Tensor, state: State, chosen: slice) -> State:
        """The state [N, C′, U] after one step; projected: W x + b [N, C′, 4U]."""
        recurrent = self.recurrent_kernel[chosen]
        gates = projected + ops.einsum("ncu,cug->ncg", state.hidden, recurrent)
        enter, keep, new, leave = ops.split(gates, 4, axis=-1)
        cell = ops.sigmoid(keep) * state.cell + ops.sigmoid(enter) * ops.tanh(new)
        return State(ops.sigmoid(leave) * ops.tanh(cell), cell)


def each_alone(kind: type[keras.initializers.Initializer]) -> Any:
    """An initializer of [C, …] that draws each copy as if it were the only one.

    Keras would take the first axis of three for the width of a convolution, and scale by it.
    """

    def draw(shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        return ops.stack([kind()(shape[1:], dtype) for _ in range(shape[0])])

    return draw
