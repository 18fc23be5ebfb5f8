"""A Transformer that reads each token of the source together with its two neighbours.

    x_i  ←  x_i + W₋ x_{i−1} + W₀ x_i + W₊ x_{i+1}        before the positions are added

To go on copying, the decoder must find the place behind the token that it wrote last (for `r2l`,
before it).  The embedding of a place knows its own token only, so that the layers must first learn
to hand each token to its neighbour, by positions alone, before copying can be learned at all.
Here a place knows its neighbours from the first update on, and one attention finds it.

Beyond both ends of a source, and at padding, there is nothing: 0.

Olsson et al., "In-context Learning and Induction Heads", 2022, https://arxiv.org/abs/2209.11895:
there a key is mixed with the one before ("smeared keys"), for writing in one direction.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor

WIDTH = 3  # a token and one on each side


class Neighbours(keras.layers.Layer):
    """Adds to each token what its neighbourhood says; holds W₋, W₀ and W₊."""

    def build(self, width: int) -> None:
        """Makes the weights [3, width, width]."""
        self.convolution = keras.layers.Conv1D(
            width, WIDTH, padding="same", use_bias=False, name="convolution"
        )
        self.convolution.build((None, None, width))

    def call(self, x: Tensor, filled: Tensor) -> Tensor:
        """The tokens with their neighbours.

        Args:
            x: The embedded source [B, S, D].
            filled: bool [B, S], False at padding, which must not change what stands before it.
        """
        known = ops.where(filled[..., None], x, ops.zeros_like(x))
        return x + self.convolution.call(known)

    def compute_output_shape(self, *shapes: Any) -> Any:
        """That of the source."""
        return shapes[0]
