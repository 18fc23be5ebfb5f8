"""How fast does training run?  Tokens a second, beside the same network in Transformers.

    python -m benchmarks.training_speed [--rounds 7] [--threads 1]

Both train Transformer-Tiny (4 + 4 layers, width 128, ReLU, post-norm, one tied table) left to
right with dropout 0.1, label smoothing 0.1 and Adam, on the same random batch, in turns in one
process on the same cores; the ratio is that of the medians.  Ours runs on the backend that
KERAS_BACKEND names, Transformers on PyTorch.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

VOCABULARY, WIDTH, FEEDFORWARD, HEADS, LAYERS = 9712, 128, 256, 4, 4
RATE, SMOOTHING, DROPOUT = 1e-3, 0.1, 0.1


def our_step(source: Any, target: Any) -> Callable[[], object]:
    """One update of ours."""
    import keras

    from kooler.seq2seq import Seq2Seq

    model = Seq2Seq(
        VOCABULARY, size="tiny", orders=("l2r",), dropout=DROPOUT, label_smoothing=SMOOTHING
    )
    model.compile(keras.optimizers.Adam(RATE))
    return lambda: model.train_on_batch({"source": source, "target": target})


def their_step(source: Any, target: Any) -> Callable[[], object]:
    """One update of Transformers' MarianMT, the plain encoder–decoder there."""
    import torch
    from transformers import MarianConfig, MarianMTModel

    model = MarianMTModel(
        MarianConfig(
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=FEEDFORWARD,
            decoder_ffn_dim=FEEDFORWARD,
            activation_function="relu",
            dropout=DROPOUT,
            attention_dropout=0.0,
            activation_dropout=0.0,
            max_position_embeddings=128,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=2,
            forced_eos_token_id=None,
            scale_embedding=True,
            share_encoder_decoder_embeddings=True,
            tie_word_embeddings=True,
        )
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    inputs, labels = torch.tensor(source).long(), torch.tensor(target).long()
    ends = torch.full((len(labels), 1), 1)
    labels = torch.cat([labels, ends], dim=1)
    decoder = torch.cat([torch.full_like(ends, 2), labels[:, :-1]], dim=1)

    def step() -> None:
        optimizer.zero_grad()
        logits = model(
            input_ids=inputs, attention_mask=inputs != 0, decoder_input_ids=decoder
        ).logits
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), label_smoothing=SMOOTHING
        )
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="cores for both")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--length", type=int, default=16, help="tokens of source and of target")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: given.threads]
    os.sched_setaffinity(0, cores)  # before any backend starts its threads
    import numpy as np
    import torch

    torch.set_num_threads(given.threads)
    random = np.random.default_rng(0)
    shape = (given.batch, given.length)
    source, target = (random.integers(6, VOCABULARY, shape).astype("int32") for _ in range(2))
    steps = {"kooler": our_step(source, target), "transformers": their_step(source, target)}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # compiles
        step()
    for _ in range(given.rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    tokens = given.batch * (2 * given.length + 1)
    rates = {name: tokens / statistics.median(times) for name, times in seconds.items()}
    for name, rate in rates.items():
        spread = f"{tokens / max(seconds[name]):,.0f} to {tokens / min(seconds[name]):,.0f}"
        print(f"{name:12}  {rate:10,.0f} tokens/s   ({spread})")
    backend = os.environ["KERAS_BACKEND"]
    ratio = rates["kooler"] / rates["transformers"]
    print(f"kooler on {backend} / transformers on torch: {ratio:.2f} ({len(cores)} core)")


if __name__ == "__main__":
    main()
