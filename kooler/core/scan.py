"""A loop over the leading axis, inside of a compiled step, that keeps one turn in memory at a time.

    carry, outputs = scan(body, carry, parts)      # body(carry, part) → carry, output

As `jax.lax.scan`. `keras.ops.scan` would do on JAX and PyTorch, but its TensorFlow version gives
the outputs the shapes of the carry (Keras 3.15).

    carry, outputs = repeat(body, carry, count, like)   # body(carry, index) → carry, output

is the same for those who cut the parts themselves. On TensorFlow the number of turns may be known
only when the step runs, and may be zero; so it must be told what an output looks like.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Body = Callable[[Any, Any], tuple[Any, Any]]


def scan(body: Body, carry: Any, parts: Any) -> tuple[Any, Any]:
    """Runs `body` once per part, one after the other.

    Args:
        body: Takes the carry and a part, returns the new carry (of the same structure, shapes and
            types) and an output: a nest of tensors.
        carry: A nest of tensors.
        parts: A nest of tensors; the leading axis of each counts the parts.

    Returns:
        The last carry, and the outputs stacked along a new leading axis.

    Example:
        >>> scan(lambda total, x: (total + x, total), ops.zeros(()), ops.arange(3.0))
        (array(3.), array([0., 0., 1.]))
    """
    return _BY_BACKEND[keras.backend.backend()](body, carry, parts)


def repeat(body: Body, carry: Any, count: Any, like: Any) -> tuple[Any, Any]:
    """Runs `body` for the indices 0 … count − 1, one after the other.

    Args:
        body: Takes the carry and an index, returns the new carry (of the same structure, shapes
            and types) and an output: a nest of tensors.
        carry: A nest of tensors.
        count: The number of turns; on TensorFlow it may be a tensor.
        like: A nest of tensors with the structure and types of an output, and its shapes but for
            the leading axes.

    Returns:
        The last carry, and the outputs stacked along a new leading axis.

    Example:
        >>> repeat(lambda total, i: (total + i, total), 0, 3, like=0)
        (array(3), array([0, 0, 1]))
    """
    if isinstance(count, int) and count == 0:
        return carry, keras.tree.map_structure(lambda leaf: ops.zeros_like(leaf[None])[:0], like)
    if keras.backend.backend() == "tensorflow":
        return _repeat_by_tensorflow(body, carry, count, like)
    return scan(body, carry, ops.arange(count))


def _by_jax(body: Body, carry: Any, parts: Any) -> tuple[Any, Any]:
    import jax

    return jax.lax.scan(body, carry, parts)


def _by_torch(body: Body, carry: Any, parts: Any) -> tuple[Any, Any]:
    outputs = []
    for index in range(keras.tree.flatten(parts)[0].shape[0]):
        part = keras.tree.map_structure(lambda leaf, i=index: leaf[i], parts)
        carry, output = body(carry, part)
        outputs.append(output)
    return carry, keras.tree.map_structure(lambda *leaves: ops.stack(leaves), *outputs)


def _by_tensorflow(body: Body, carry: Any, parts: Any) -> tuple[Any, Any]:
    """A `tf.while_loop`; its first turn runs outside, to learn what the outputs look like."""
    import tensorflow as tf

    def part(index: Any) -> Any:
        return keras.tree.map_structure(lambda leaf: leaf[index], parts)

    count = tf.shape(keras.tree.flatten(parts)[0])[0]
    carry, first = body(carry, part(0))
    carry, others = _repeat_by_tensorflow(
        lambda carry, index: body(carry, part(index + 1)), carry, count - 1, first
    )

    def joined(one: Any, rest: Any) -> Any:
        # what nothing was written to has lost its shape where TensorFlow runs eagerly
        shape = tf.concat([[count - 1], tf.shape(one)], 0)
        return tf.concat([one[None], tf.reshape(rest, shape)], 0)

    return carry, keras.tree.map_structure(joined, first, others)


def _repeat_by_tensorflow(body: Body, carry: Any, count: Any, like: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    stores = [
        tf.TensorArray(leaf.dtype, count, element_shape=[None, *leaf.shape[1:]][: leaf.shape.rank])
        for leaf in keras.tree.flatten(like)
    ]

    def turn(index: Any, leaves: list[Any], stores: list[Any]) -> Any:
        new, output = body(keras.tree.pack_sequence_as(carry, leaves), index)
        flat = keras.tree.flatten(output)
        stores = [store.write(index, leaf) for store, leaf in zip(stores, flat, strict=True)]
        return index + 1, keras.tree.flatten(new), stores

    _, leaves, stores = tf.while_loop(
        lambda index, leaves, stores: index < count,
        turn,
        (0, keras.tree.flatten(carry), stores),
        parallel_iterations=1,
    )
    outputs = [store.stack() for store in stores]
    return (
        keras.tree.pack_sequence_as(carry, leaves),
        keras.tree.pack_sequence_as(like, outputs),
    )


_BY_BACKEND: dict[str, Callable[[Body, Any, Any], tuple[Any, Any]]] = {
    "jax": _by_jax,
    "torch": _by_torch,
    "tensorflow": _by_tensorflow,
}
