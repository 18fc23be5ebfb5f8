"""A trained model as a TensorFlow SavedModel: the whole search, callable with TensorFlow alone.

    export_saved_model(model, "exported", order="mid", beam_size=5)

    import tensorflow as tf
    loaded = tf.saved_model.load("exported")     # keep it: its weights go when it goes
    found = loaded.search(source)                # int32 [batch_size, source_length]
    found["tokens"], found["scores"]             # [B, K, slots], [B, K], best first

The loop, the caches and the pool of `search.py` become one graph, which TensorFlow Serving runs as
it is.  Shapes are fixed when it is written, as those of every compiled search are: fill shorter
sources and smaller batches with 0.  A tokenizer stays outside.

Streams are written in the order of generation: `r2l` backwards, `mid` with left and right in turn.
"""

from pathlib import Path
from typing import Any

import keras

from kooler.core.types import Tensor
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.order import tokens_per_step
from kooler.seq2seq.rules import Rules, check_search
from kooler.seq2seq.search import search, steps_of
from kooler.seq2seq.shapes import in_its_precision
from kooler.seq2seq.stretches import starting, step_of


def export_saved_model(
    model: Seq2Seq,
    directory: str | Path,
    *,
    order: str = "l2r",
    beam_size: int = 5,
    length_penalty: float = 1.0,
    max_length: int | None = None,
    batch_size: int = 1,
    source_length: int = 64,
) -> None:
    """Writes `model` for `tf.saved_model.load(directory).search`.

    Args:
        model: A trained model, on the TensorFlow backend.
        directory: Where to write; made if missing.
        order: "l2r", "r2l" or "mid".
        beam_size: Hypotheses kept open at each step; as many are returned.
        length_penalty: α of the score log p / length^α.
        max_length: The most tokens of a target; None is `model.max_length`.
        batch_size: Sources of a call.
        source_length: Tokens of a source, padding included.

    Raises:
        ValueError: For "best", which is more than one search, and on another backend.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"A SavedModel is written by TensorFlow, received a model on {backend}. Load the run "
            "with KERAS_BACKEND=tensorflow: the weights are the same."
        )
    if order == "best":
        raise ValueError('`order` must be "l2r", "r2l" or "mid": "best" is several searches.')
    rules = Rules(beam_size, max_length or model.max_length, length_penalty=float(length_penalty))
    check_search(rules, order, 1, model.orders)
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        name="search",
        fn=in_its_precision(model, _search_of(model, order, rules, batch_size)),
        input_signature=[tf.TensorSpec((batch_size, source_length), "int32", name="source")],
    )
    archive.write_out(str(directory), verbose=False)


def _search_of(model: Seq2Seq, order: str, rules: Rules, batch: int) -> Any:
    """A whole search, from sources to the pool."""
    steps = steps_of(rules.max_length, tokens_per_step(order))

    def function(source: Tensor) -> dict[str, Tensor]:
        step = step_of(model, model.encode(source), order)
        state, tags = starting(model, batch, order, rules, steps)
        pool = search(step, state, tags, rules)
        return {"tokens": pool.tokens, "log_probs": pool.log_probs, "scores": pool.scores}

    return function
