"""The same Transformer in four engines: what `decoding_race.py` lets run against each other.

Each engine is a function `translate(rows, beam_size, batch_size)` from lists of source ids to the
best target of each, as ids without EOS.  All get the weights of one model of ours, order `l2r`.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kooler.seq2seq import Seq2Seq, export_ctranslate2, generate
from kooler.seq2seq.model import reserved_mask
from kooler.seq2seq.order import SIDES, START_TAGS
from kooler.seq2seq.reserved_ids import EOS, PAD
from kooler.seq2seq.shapes import source_batches
from kooler.seq2seq.transformer import MASKED, sinusoids

Engine = Callable[[list[list[int]], int, int], list[list[int]]]


def kooler_engine(
    model: Seq2Seq, max_length: int, shortlist: Sequence[int] | None = None
) -> Engine:
    """`generate`, on the backend that KERAS_BACKEND names."""

    def translate(rows: list[list[int]], beam_size: int, batch_size: int) -> list[list[int]]:
        written = generate(
            model,
            rows,
            order="l2r",
            beam_size=beam_size,
            batch_size=batch_size,
            max_length=max_length,
            early_stopping=True,  # as the others
            shortlist=shortlist,
            compact=True,  # however few sentences; the shapes are compiled before the race
        )
        return [ids[ids != PAD].tolist() for ids in written.ids[:, 0]]

    return translate


def ctranslate2_engine(model: Seq2Seq, max_length: int, compute_type: str) -> Engine:
    """CTranslate2 on one thread; `compute_type` is float32 or int8."""
    import ctranslate2

    folder = tempfile.mkdtemp()
    export_ctranslate2(model, folder)
    translator = ctranslate2.Translator(
        folder, compute_type=compute_type, inter_threads=1, intra_threads=1
    )

    def translate(rows: list[list[int]], beam_size: int, batch_size: int) -> list[list[int]]:
        results = translator.translate_batch(
            [[str(token) for token in row] for row in rows],
            beam_size=beam_size,
            max_batch_size=batch_size,
            length_penalty=1.0,
            max_decoding_length=max_length,
            min_decoding_length=0,
        )
        return [[int(token) for token in result.hypotheses[0]] for result in results]

    return translate


def transformers_engine(model: Seq2Seq, max_length: int) -> Engine:
    """`generate` of Transformers on PyTorch, batches sorted by length."""
    import torch

    network = marian(model)

    def translate(rows: list[list[int]], beam_size: int, batch_size: int) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in rows]
        for indices in sorted_batches(rows, batch_size):
            source = torch.zeros((len(indices), len(rows[indices[-1]])), dtype=torch.long)
            for place, index in enumerate(indices):
                source[place, : len(rows[index])] = torch.tensor(rows[index])
            with torch.inference_mode():
                written = network.generate(
                    input_ids=source,
                    attention_mask=source != PAD,
                    num_beams=beam_size,
                    max_new_tokens=max_length + 1,
                    length_penalty=1.0,
                    early_stopping=beam_size > 1,
                    do_sample=False,
                )
            for index, ids in zip(indices, written[:, 1:].tolist(), strict=True):
                found[index] = [token for token in ids if token not in (PAD, EOS)]
        return found

    return translate


def kerashub_engine(model: Seq2Seq, length: int) -> Engine:
    """A BART of KerasHub with the same sizes; its weights are random, since BART's layers differ,
    and it writes `length` tokens for every source.
    """
    import keras_hub

    sizes = model.dimensions
    network = keras_hub.models.BartSeq2SeqLM(
        backbone=keras_hub.models.BartBackbone(
            vocabulary_size=model.vocabulary_size,
            num_layers=sizes["layers"],
            num_heads=sizes["heads"],
            hidden_dim=sizes["width"],
            intermediate_dim=sizes["feedforward"],
            dropout=0.0,
            max_sequence_length=96,
        ),
        preprocessor=None,
    )

    compiled_for = {"beam": 0}

    def translate(rows: list[list[int]], beam_size: int, batch_size: int) -> list[list[int]]:
        if compiled_for["beam"] != beam_size:  # compile() forgets what was traced
            sampler = keras_hub.samplers.BeamSampler(num_beams=beam_size)
            network.compile(
                sampler=sampler if beam_size > 1 else keras_hub.samplers.GreedySampler()
            )
            compiled_for["beam"] = beam_size
        for _, source in source_batches(rows, batch_size):
            written = np.full((len(source), length + 1), START_TAGS["l2r"][0], "int32")
            begun = np.zeros(written.shape, bool)
            begun[:, 0] = True
            network.generate(
                {
                    "encoder_token_ids": source,
                    "encoder_padding_mask": source != PAD,
                    "decoder_token_ids": written,
                    "decoder_padding_mask": begun,
                },
                stop_token_ids=None,
            )
        return [[0] * (length - 1) for _ in rows]

    return translate


def sorted_batches(rows: list[list[int]], batch_size: int) -> Iterator[list[int]]:
    """Indices of rows of similar length."""
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for first in range(0, len(rows), batch_size):
        yield by_length[first : first + batch_size]


def marian(model: Seq2Seq) -> Any:
    """The model as Transformers' MarianMT."""
    import torch
    from transformers import MarianConfig, MarianMTModel

    sizes = model.dimensions
    network = MarianMTModel(
        MarianConfig(
            vocab_size=model.vocabulary_size,
            d_model=sizes["width"],
            **{f"{part}_layers": sizes["layers"] for part in ("encoder", "decoder")},
            **{f"{part}_attention_heads": sizes["heads"] for part in ("encoder", "decoder")},
            **{f"{part}_ffn_dim": sizes["feedforward"] for part in ("encoder", "decoder")},
            activation_function="relu",
            max_position_embeddings=256,
            pad_token_id=PAD,
            eos_token_id=EOS,
            decoder_start_token_id=START_TAGS["l2r"][0],
            forced_eos_token_id=None,
            scale_embedding=True,
            share_encoder_decoder_embeddings=True,
            tie_word_embeddings=True,
        )
    ).eval()
    state = {name: torch.tensor(array) for name, array in _marian_weights(model, 256).items()}
    missing, unknown = network.load_state_dict(state, strict=False)
    tied = {
        "lm_head.weight",
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
    }
    if unknown or set(missing) - tied:
        raise RuntimeError(f"Marian's weights have other names now: {missing}, {unknown}")
    network.tie_weights()
    return network


def _marian_weights(model: Seq2Seq, positions: int) -> dict[str, np.ndarray]:
    """Our weights under Marian's names."""
    table = sinusoids(positions, model.dimensions["width"])
    weights = {
        "model.shared.weight": _array(model.embeddings),
        "final_logits_bias": reserved_mask(model.vocabulary_size)[None] * np.float32(MASKED),
        "model.encoder.embed_positions.weight": table,
        "model.decoder.embed_positions.weight": table + _array(model.sides)[SIDES["l2r"][0]],
    }
    for side, layers in (("encoder", model.encoder), ("decoder", model.decoder)):
        for number, layer in enumerate(layers):
            prefix = f"model.{side}.layers.{number}."
            for name, kernel, bias in _dense_layers(layer, side):
                weights[f"{prefix}{name}.weight"] = np.ascontiguousarray(kernel.T)
                weights[f"{prefix}{name}.bias"] = bias
            for name, norm in _norms(layer, side):
                weights[f"{prefix}{name}.weight"] = _array(norm.gamma)
                weights[f"{prefix}{name}.bias"] = _array(norm.beta)
    return weights


def _dense_layers(layer: Any, side: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    yield from _split(layer.self_projection, "self_attn.", ("q_proj", "k_proj", "v_proj"))
    yield from _split(layer.self_output, "self_attn.", ("out_proj",))
    if side == "decoder":
        yield from _split(layer.source_query, "encoder_attn.", ("q_proj",))
        yield from _split(layer.source_projection, "encoder_attn.", ("k_proj", "v_proj"))
        yield from _split(layer.source_output, "encoder_attn.", ("out_proj",))
    yield from _split(layer.feedforward_hidden, "", ("fc1",))
    yield from _split(layer.feedforward_output, "", ("fc2",))


def _split(
    dense: Any, prefix: str, names: tuple[str, ...]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The parts of a projection that Marian keeps in layers of their own."""
    kernels = np.split(_array(dense.kernel), len(names), axis=1)
    biases = np.split(_array(dense.bias), len(names))
    for name, kernel, bias in zip(names, kernels, biases, strict=True):
        yield prefix + name, kernel, bias


def _norms(layer: Any, side: str) -> Iterator[tuple[str, Any]]:
    yield "self_attn_layer_norm", layer.self_norm
    if side == "decoder":
        yield "encoder_attn_layer_norm", layer.source_norm
    yield "final_layer_norm", layer.feedforward_norm


def _array(variable: Any) -> np.ndarray:
    from keras import ops

    return np.array(ops.convert_to_numpy(variable), "float32")
