"""A trained model as a CTranslate2 model: the left-to-right or right-to-left order, run in C++.

CTranslate2 writes one token a step with unsigned positions, so `mid` has no counterpart there.
Of a single direction nothing is lost: its side vector is added to the position table, the start tag
is the token that decoding starts from, and a bias on the projection keeps the reserved ids out.
Every id `i` is the token "i" of both vocabularies; a tokenizer stays outside.

A right-to-left model writes its targets backwards.
"""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from kooler.seq2seq.model import Seq2Seq, reserved_mask
from kooler.seq2seq.order import SIDES, START_TAGS, check_order
from kooler.seq2seq.reserved_ids import EOS
from kooler.seq2seq.transformer import MASKED, Block, DecoderLayer, sinusoids

POSITIONS = 1024


def export_ctranslate2(model: Seq2Seq, directory: str | Path, *, order: str = "l2r") -> None:
    """Writes `model` for `ctranslate2.Translator(directory)`.

    Args:
        model: A trained model without copy prior, pointer or neighbours.
        directory: Where to write; made if missing.
        order: "l2r" or "r2l".

    Raises:
        ImportError: If CTranslate2 is not installed.
        ValueError: For `order="mid"`, a copy prior, a pointer, neighbours, and recurrent models,
            which CTranslate2 cannot run.
    """
    if model.architecture != "transformer":
        raise ValueError(
            "CTranslate2 runs Transformers only, received a model with "
            f"architecture={model.architecture!r}. Train one with architecture='transformer'."
        )
    check_order(order, tuple(name for name in model.orders if name != "mid"))
    unknown = [name for name in ("copy_prior", "pointer", "neighbours") if getattr(model, name)]
    if unknown:
        raise ValueError(
            "CTranslate2 knows no copy prior, no pointer and no neighbours, received a model with "
            f"{' and '.join(unknown)}. Train one without."
        )
    specification = _specification(model, order)
    specification.register_source_vocabulary(_names(model.source_vocabulary_size))
    specification.register_target_vocabulary(_names(model.vocabulary_size))
    specification.config.layer_norm_epsilon = 1e-5
    specification.config.eos_token = str(EOS)
    specification.config.decoder_start_token = str(START_TAGS[order][0])
    specification.validate()
    specification.optimize()
    Path(directory).mkdir(parents=True, exist_ok=True)
    specification.save(str(directory))


def _specification(model: Seq2Seq, order: str) -> Any:
    """The model's weights in CTranslate2's terms."""
    from ctranslate2.specs import common_spec, transformer_spec

    layers, heads = model.dimensions["layers"], model.dimensions["heads"]
    shape = {"pre_norm": model.norm == "pre", "activation": common_spec.Activation.RELU}
    encoder = transformer_spec.TransformerEncoderSpec(layers, heads, **shape)
    decoder = transformer_spec.TransformerDecoderSpec(layers, heads, **shape)
    positions = sinusoids(POSITIONS, model.dimensions["width"])
    _set_embedding(encoder.embeddings[0], model.source_embeddings)
    _set_embedding(decoder.embeddings, model.embeddings)
    encoder.position_encodings.encodings = positions
    decoder.position_encodings.encodings = positions + _array(model.sides)[SIDES[order][0]]
    for part, layer in zip(encoder.layer, model.encoder, strict=True):
        _set_block(part, layer)
    for part, layer in zip(decoder.layer, model.decoder, strict=True):
        _set_decoder_layer(part, layer)
    for part, norm in zip((encoder, decoder), model.final_norms, strict=False):
        _set_norm(part.layer_norm, norm)
    decoder.projection.weight = _array(model.embeddings)
    decoder.projection.bias = reserved_mask(model.vocabulary_size) * np.float32(MASKED)
    return transformer_spec.TransformerSpec(encoder, decoder)


def _set_block(part: Any, layer: Block) -> None:
    _set_dense(part.self_attention.linear[0], layer.self_projection)
    _set_dense(part.self_attention.linear[1], layer.self_output)
    _set_norm(part.self_attention.layer_norm, layer.self_norm)
    _set_dense(part.ffn.linear_0, layer.feedforward_hidden)
    _set_dense(part.ffn.linear_1, layer.feedforward_output)
    _set_norm(part.ffn.layer_norm, layer.feedforward_norm)


def _set_decoder_layer(part: Any, layer: DecoderLayer) -> None:
    _set_block(part, layer)
    _set_dense(part.attention.linear[0], layer.source_query)
    _set_dense(part.attention.linear[1], layer.source_projection)
    _set_dense(part.attention.linear[2], layer.source_output)
    _set_norm(part.attention.layer_norm, layer.source_norm)


def _set_embedding(part: Any, table: Any) -> None:
    part.weight = _array(table)
    part.multiply_by_sqrt_depth = True


def _set_dense(part: Any, layer: Any) -> None:
    """CTranslate2 keeps kernels as [outputs, inputs]."""
    part.weight, part.bias = np.ascontiguousarray(_array(layer.kernel).T), _array(layer.bias)


def _set_norm(part: Any, layer: Any) -> None:
    part.gamma, part.beta = _array(layer.gamma), _array(layer.beta)


def _array(variable: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(variable), "float32")


def _names(size: int) -> list[str]:
    return [str(index) for index in range(size)]
