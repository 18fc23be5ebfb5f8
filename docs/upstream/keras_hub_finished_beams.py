"""KerasHub: `BeamSampler` lets finished beams pay for what stands behind their end.

Seen with keras_hub 0.32.0 on JAX.

What happens: token 5 (p = 0.6) is followed by the end, token 6 (p = 0.4) by three more tokens and
the end. Two beams return [6, 7, 8, 9, end] with p = 0.4, although [5, end] has p = 0.6 and was
found.

What is expected: the more probable of the two.

Cause: `BeamSampler.__call__` goes on adding the log-probabilities of what the model says after
`stop_token_ids`, until all beams have ended.

Suggested fix: a beam that has ended takes a padding token at the price of 0, or leaves the beam
for a pool of finished ones.

Way round it: a search with a pool, as `kooler.seq2seq.search`.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import sys

import keras
import keras_hub
import numpy as np
from keras import ops

END, FIRST = 1, 8  # the reserved tokens of both lie below FIRST; 5 and 6 are FIRST and FIRST + 1
SHORT, LONG = [FIRST], [FIRST + 1, FIRST + 2, FIRST + 3, FIRST + 4]
VOCABULARY, BEAMS, LENGTH = 50, 2, 12


def table(end):
    """Log p(next | last) [last, next]; row 0 is the beginning, and after the end all are alike."""
    log_probs = np.full((VOCABULARY, VOCABULARY), -20.0, "float32")
    log_probs[0, SHORT[0]], log_probs[0, LONG[0]] = np.log(0.6), np.log(0.4)
    for sequence in (SHORT, LONG):
        for last, following in zip(sequence, [*sequence[1:], end], strict=True):
            log_probs[last, following] = 0.0
    log_probs[end] = -np.log(VOCABULARY)
    return log_probs


def with_keras_hub():
    log_probs = ops.convert_to_tensor(table(END))

    def following(prompt, cache, index):
        return ops.take(log_probs, prompt[:, index - 1], axis=0), None, cache

    prompt = ops.zeros((1, LENGTH), "int32")
    given = ops.convert_to_tensor(np.arange(LENGTH)[None] < 1)
    sampler = keras_hub.samplers.BeamSampler(num_beams=BEAMS)
    found = sampler(following, prompt, index=1, mask=given, stop_token_ids=[END])
    tokens = ops.convert_to_numpy(found)[0, 1:].tolist()
    return tokens[: tokens.index(END)]


def with_kooler():
    from kooler.seq2seq.reserved_ids import EOS, L2R, PAD
    from kooler.seq2seq.rules import Rules
    from kooler.seq2seq.search import search

    log_probs = table(EOS)
    log_probs[L2R] = log_probs[0]
    log_probs = ops.convert_to_tensor(log_probs)

    def step(state, inputs, time):  # int32 [1, BEAMS, 1] -> [1, BEAMS, 1, VOCABULARY]
        return ops.take(log_probs, inputs, axis=0), state

    start = ops.convert_to_tensor(np.array([[L2R]], "int32"))
    banned = ops.zeros(VOCABULARY)
    pool = search(step, ops.zeros(BEAMS), start, Rules(BEAMS, LENGTH), banned=banned)
    tokens = ops.convert_to_numpy(pool[0])[0, 0].tolist()
    return [token for token in tokens if token not in (PAD, EOS)]


if __name__ == "__main__":
    expected, theirs = SHORT, with_keras_hub()
    print(f"keras_hub {keras_hub.__version__} on {keras.backend.backend()}: {theirs}")
    print(f"kooler: {with_kooler()}")
    print(f"expected: {expected}")
    sys.exit("FAIL" if theirs != expected else None)
