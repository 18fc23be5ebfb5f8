"""The one type alias of the library.

`Tensor` is whatever the running backend computes with: a `jax.Array` or tracer, a `torch.Tensor`, a
`tf.Tensor`, or a NumPy array that is about to become one.  Shapes are stated in words, in
docstrings and in trailing comments, because no type says them on three backends.
"""

from typing import Any

Tensor = Any
