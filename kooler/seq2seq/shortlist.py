"""A search among some tokens of the vocabulary.

Translation from English to German has one table for both languages, of which a target uses a part.
With a shortlist only these tokens are scored and written:

    p(token)  =  exp(logit) / Σ over the shortlist ,

so that a step costs less, and log p is that of the model among them: a little more than among all.
Other engines take what a dictionary of source words offers (Schwenk, Dchelotte, Gauvain 2006,
https://aclanthology.org/P06-2093); what no target of the training pairs has is never written.

    generate(model, rows, order="l2r", shortlist=written_tokens("runs/translate"))
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kooler.seq2seq.reserved_ids import RESERVED
from kooler.seq2seq.run_directory import RunDirectory
from kooler.seq2seq.spool import Spool


def written_tokens(run_directory: str | os.PathLike[str]) -> np.ndarray:
    """The tokens that occur in the targets of a run's training pairs, int32, ascending.

    Raises:
        ValueError: If it is no run directory, or is without its data.
    """
    path = RunDirectory(run_directory).data_path / "train"
    if not path.exists():
        raise ValueError(
            f"`{run_directory}` is without its training pairs, which say what a target can be made "
            "of. Name the ids yourself."
        )
    spool = Spool(path)
    found = [np.unique(spool[pair][1]) for pair in range(len(spool))]
    return np.unique(np.concatenate(found)).astype("int32")


def checked_shortlist(model: Any, tokens: Sequence[int]) -> np.ndarray:
    """The reserved ids, each at its own place, and behind them the tokens, int32 [V″].

    Raises:
        ValueError: For a model that copies, LSTMs or two streams, and for ids that it has not.
    """
    if not model.writes_by_product or model.writes_together:
        raise ValueError(
            "`shortlist` needs scores that are the product of a stream with the embeddings: "
            "a pointer, a copy prior, LSTMs and two streams make others. Leave it out."
        )
    ids = np.unique(np.asarray(tokens, "int32"))
    wrong = ids[(ids < RESERVED) | (ids >= model.vocabulary_size)]
    if len(wrong) or not len(ids):
        received = f"{wrong[0]}" if len(wrong) else "no id"
        raise ValueError(
            f"`shortlist` must hold ids from {RESERVED} to {model.vocabulary_size - 1}, received "
            f"{received}."
        )
    return np.concatenate([np.arange(RESERVED, dtype="int32"), ids])
