"""An embedding whose gradient is that of the rows which a batch looked up.

    output = table[ids];     ∂loss/∂table  is  ∂loss/∂output, added up over equal ids

and zero in every other row. A dense gradient writes those zeros: for a million rows and a few
thousand ids, nearly all of the time of a step. What becomes of the gradient is the business of the
optimizer that gets it:

| optimizer                  | JAX          | PyTorch      | TensorFlow                            |
|----------------------------|--------------|--------------|---------------------------------------|
| `kooler.optimizers.Lazy`   | rows         | rows         | rows                                  |
| one of Keras's             | whole table  | whole table  | rows, as far as that optimizer can    |

For Keras's own optimizers it is therefore the same as `keras.layers.Embedding`, except that on
TensorFlow the table is not read as a whole. `Lazy` takes the gradient of a plain `Embedding` by
rows, too; this layer promises in addition that nothing stands in the way.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.rows import look_up
from kooler.core.types import Tensor


@keras.saving.register_keras_serializable("kooler", name="SparseEmbedding")
class SparseEmbedding(keras.layers.Embedding):
    """Drops in for `keras.layers.Embedding`: the same arguments, weights and files.

    Args:
        input_dim: Number of rows of the table.
        output_dim: Their length.
        **arguments: As for `keras.layers.Embedding`.

    Raises:
        ValueError: A regularizer, a constraint or LoRA is asked for: each gives all rows a
            gradient, or a new value, in every step.
    """

    only_looks_up = True

    def __init__(self, input_dim: int, output_dim: int, **arguments: Any) -> None:
        for name in ("embeddings_regularizer", "embeddings_constraint", "lora_rank"):
            if arguments.get(name) is not None:
                raise ValueError(_concerns_all_rows(f"{name}={arguments[name]!r}"))
        super().__init__(input_dim, output_dim, **arguments)

    def call(self, ids: Tensor) -> Tensor:
        """Int [batch, …] → [batch, …, output_dim]."""
        if self.quantization_mode is not None or keras.backend.backend() != "tensorflow":
            return super().call(ids)
        flat = ops.reshape(ops.cast(ids, "int32"), (-1,))
        flat = ops.where(flat < 0, flat + self.input_dim, flat)
        rows = ops.reshape(look_up(self.embeddings, flat), (*ops.shape(ids), self.output_dim))
        return ops.cast(rows, self.compute_dtype)

    def enable_lora(self, *args: Any, **arguments: Any) -> None:
        """There is none for a table that is trained by rows."""
        raise ValueError(_concerns_all_rows("LoRA"))


# Keras's files call a layer by the name of its class: so they fit an Embedding, and its fit here.
SparseEmbedding.__name__ = "Embedding"


def _concerns_all_rows(what: str) -> str:
    return (
        f"A SparseEmbedding cannot have {what}, which concerns all rows in every step. Use "
        "keras.layers.Embedding, or leave it out (weight decay of the rows is the optimizer's)."
    )
