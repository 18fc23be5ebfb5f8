"""Multi-head attention that says where it looked, and never looks into padding.

For each head, with queries Q, keys K and values V projected from the inputs,

    scores = masked_softmax(Q Kᵀ / √key_dim, visible),     outputs = scores V W + b,

where a query sees a key if every mask allows it:

    the mask of keys      [batch, keys]              padding is never looked at
    `attention_mask`      [queries, keys], [batch, queries, keys] or [batch, heads, queries, keys]
    `use_causal_mask`     key ≤ query

A query that sees no key gets scores of zero, so its output is b, and an output whose query is
padding is zero.  `scores` is a local variable of `call`, so `Capture` can read and replace it.

The arguments of `call` and the order of the weights are those of `keras.layers.MultiHeadAttention`:
`attention.set_weights(other.get_weights())` moves a model over.
"""

from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.types import Tensor
from kooler.layers.layer import Layer
from kooler.layers.masks import masked_softmax


@keras.saving.register_keras_serializable("kooler")
class Attention(Layer):
    """Multi-head attention with explicit masks.

    Args:
        num_heads: How many heads.
        key_dim: The width of the queries and keys of one head.
        value_dim: The width of its values; None is `key_dim`.
        output_dim: The width of the outputs; None is that of the query.
        dropout: The share of scores that training drops.
        use_bias: Whether the four projections add a bias.
        kernel_initializer: Of the four kernels.
        bias_initializer: Of the four biases.
        seed: Of the dropout.
        **arguments: As for `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        *,
        value_dim: int | None = None,
        output_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        seed: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        sizes: dict[str, Any] = {"num_heads": num_heads, "key_dim": key_dim}
        for name, value in sizes.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` must be a positive integer, received {value!r}.")
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = key_dim if value_dim is None else value_dim
        self.output_dim = output_dim
        self.dropout = dropout
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.seed = seed
        self.supports_masking = True
        self.query_dense = self._projection(self.key_dim, "query_dense")
        self.key_dense = self._projection(self.key_dim, "key_dense")
        self.value_dense = self._projection(self.value_dim, "value_dense")
        self.dropout_layer = keras.layers.Dropout(dropout, seed=seed, dtype=self.dtype_policy)

    def call(
        self,
        query: Tensor,
        value: Tensor | None = None,
        key: Tensor | None = None,
        mask: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        use_causal_mask: bool = False,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        """Attends.

        Args:
            query: [batch, queries, width].
            value: [batch, keys, width]; None attends to the query itself.
            key: [batch, keys, width]; None is `value`.
            mask: The padding of the query, [batch, queries]; of the value too where that is None.
            query_mask: The same, by the name that Keras fills in when there are several inputs.
            value_mask: The padding of the values, [batch, keys].
            key_mask: The padding of the keys, [batch, keys].
            attention_mask: Who may see what; see the top of the file.
            use_causal_mask: Whether a query sees no key after its own position.
            return_attention_scores: Whether to return (outputs, scores).
            training: Whether to drop scores.

        Returns:
            [batch, queries, output_dim], and if asked the scores [batch, heads, queries, keys].
        """
        query_mask = mask if query_mask is None else query_mask
        value_mask = query_mask if value is None and value_mask is None else value_mask
        value = query if value is None else value
        queries = self.query_dense(query) * self.key_dim**-0.5  # [batch, queries, heads, key_dim]
        keys = self.key_dense(value if key is None else key)
        values = self.value_dense(value)
        logits = ops.einsum("bqhd,bkhd->bhqk", queries, keys)
        visible = _visible(logits, (value_mask, key_mask), attention_mask, use_causal_mask)
        scores = masked_softmax(logits, visible)
        kept = self.dropout_layer(scores, training=training)
        outputs = self._output(query)(ops.einsum("bhqk,bkhd->bqhd", kept, values))
        if query_mask is not None:
            valid = ops.expand_dims(ops.cast(query_mask, "bool"), -1)
            outputs = ops.where(valid, outputs, ops.zeros_like(outputs))
            compat.set_mask(outputs, ops.squeeze(valid, -1))
        return (outputs, scores) if return_attention_scores else outputs

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "output_dim": self.output_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "seed": self.seed,
        }

    def _projection(self, width: int, name: str) -> Any:
        shape = (None, self.num_heads, width)
        return self._einsum("btc,chd->bthd", shape, "hd", name)

    def _output(self, query: Tensor) -> Any:
        width = query.shape[-1] if self.output_dim is None else self.output_dim
        name = "output_dense"
        return self.sub(name, lambda: self._einsum("bthd,hdc->btc", (None, width), "c", name))

    def _einsum(self, equation: str, shape: tuple[Any, ...], bias: str, name: str) -> Any:
        layer = keras.layers.EinsumDense(
            equation,
            output_shape=shape,
            bias_axes=bias if self.use_bias else None,
            kernel_initializer=_fresh(self.kernel_initializer),
            bias_initializer=_fresh(self.bias_initializer),
            dtype=self.dtype_policy,
            name=name,
        )
        layer.supports_masking = True  # each step by itself: nothing to warn of
        return layer


def _visible(
    logits: Tensor,
    key_masks: tuple[Tensor | None, ...],
    attention_mask: Tensor | None,
    causal: bool,
) -> Tensor | None:
    """Which query sees which key, as booleans that broadcast to [batch, heads, queries, keys]."""
    masks = [ops.cast(m, "bool")[:, None, None, :] for m in key_masks if m is not None]
    if attention_mask is not None:
        masks.append(_with_heads(ops.cast(attention_mask, "bool")))
    if causal:
        ones = ops.ones_like(logits[:1, :1], dtype="int32")
        masks.append(ops.cumsum(ones, axis=-1) <= ops.cumsum(ones, axis=-2))
    visible = None
    for mask in masks:
        visible = mask if visible is None else ops.logical_and(visible, mask)
    return visible


def _with_heads(mask: Tensor) -> Tensor:
    rank = len(mask.shape)
    if rank not in (2, 3, 4):
        raise ValueError(
            "`attention_mask` must have the shape [queries, keys], [batch, queries, keys] or "
            f"[batch, heads, queries, keys], received {tuple(mask.shape)}."
        )
    return mask if rank == 4 else mask[:, None] if rank == 3 else mask[None, None]


def _fresh(initializer: Any) -> Any:
    """A copy: one random initializer would give all kernels the same numbers."""
    return initializer.clone() if isinstance(initializer, keras.Initializer) else initializer
