"""A dense layer whose kernel is the transposed table of an embedding.

    logits = activation(x Eᵀ + b),      E: [vocabulary, width] of the embedding layer

One table reads tokens in and scores them at the end.  It belongs to the embedding layer: there is
one variable, which gets both gradients, is counted once and saved once; loading a model gives one
table again.  What the layer computes with is what the embedding looks up in, so a table that is
reparametrised or has a LoRA is followed.

In Su Jianlin's series: https://kexue.fm/archives/6985; the paper: Press & Wolf 2017, "Using the
Output Embedding to Improve Language Models", https://arxiv.org/abs/1608.05859.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor


@keras.saving.register_keras_serializable("kooler")
class EmbeddingDense(keras.layers.Layer):
    """Logits by the table of an embedding layer.

    Args:
        embedding: The layer whose `embeddings`, [vocabulary, width], are shared.
        activation: Of the logits.
        use_bias: Whether each entry of the vocabulary has a bias.
        bias_initializer: Of the bias.
        **arguments: As for `keras.layers.Layer`.
    """

    def __init__(
        self,
        embedding: Any,
        *,
        activation: Any = None,
        use_bias: bool = True,
        bias_initializer: Any = "zeros",
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if not (hasattr(embedding, "input_dim") and hasattr(embedding, "output_dim")):
            raise ValueError(
                "`embedding` must be an embedding layer, with `input_dim`, `output_dim` and "
                f"`embeddings`; received {embedding!r}."
            )
        self.embedding = embedding
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes the bias, and the table if the embedding was not called before."""
        if not self.embedding.built:
            self.embedding.build()
        width = self.embedding.output_dim
        if input_shape[-1] != width:
            raise ValueError(
                f"The inputs must be as wide as the embedding, {width}, received {input_shape}. "
                "Put a Dense layer before it."
            )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.embedding.input_dim,), initializer=self.bias_initializer, name="bias"
            )

    def call(self, x: Tensor) -> Tensor:
        """[batch, …, width] → [batch, …, vocabulary]."""
        if getattr(self.embedding, "quantization_mode", None) is not None:
            raise ValueError(
                "`embedding` is quantized, and its table holds integers without their scale; "
                "EmbeddingDense needs it in floating point."
            )
        table = ops.cast(self.embedding.embeddings, self.compute_dtype)
        logits = ops.matmul(x, ops.transpose(table))
        return self.activation(logits + self.bias if self.use_bias else logits)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The last axis becomes the vocabulary."""
        return (*input_shape[:-1], self.embedding.input_dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`; Keras writes a layer that occurs twice once."""
        return {
            **super().get_config(),
            "embedding": keras.saving.serialize_keras_object(self.embedding),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "EmbeddingDense":
        """The layer that `get_config` described, with the embedding that is there already."""
        embedding = keras.saving.deserialize_keras_object(config["embedding"])
        return cls(**{**config, "embedding": embedding})
