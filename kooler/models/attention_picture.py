"""A picture of attention: which source token each target token looked at."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kooler.core.types import Tensor

INCHES_PER_TOKEN = 0.35
LEAST_INCHES = 2.0


def plot_attention(
    scores: Tensor,
    source: Sequence[str],
    target: Sequence[str],
    *,
    path: str | Path | None = None,
) -> Any:
    """Draws attention weights as a grid of targets × sources, one grid for each head.

    Needs matplotlib (`pip install kooler[plots]`).

    Args:
        scores: [target, source] or [heads, target, source]: the attention of one example, for
            instance `Capture(model, "attend.scores").predict(x)["attend.scores"][0]`.
        source: The tokens that are looked at, as many as the last axis of `scores` is long.
        target: The tokens that look.
        path: Where to write the picture, if anywhere; the ending says in which format.

    Returns:
        The matplotlib figure.

    Raises:
        ValueError: The shape of `scores` does not fit the tokens.
    """
    from matplotlib.figure import Figure  # slow to import, and rarely needed

    heads = _heads(scores, len(source), len(target))
    width = max(LEAST_INCHES, INCHES_PER_TOKEN * len(source)) * len(heads)
    height = max(LEAST_INCHES, INCHES_PER_TOKEN * len(target)) + 1.0
    figure = Figure(figsize=(width, height), layout="constrained")
    for number, weights in enumerate(heads):
        axes = figure.add_subplot(1, len(heads), number + 1)
        axes.imshow(weights, cmap="viridis", vmin=min(0.0, weights.min()), aspect="auto")
        axes.set_xticks(range(len(source)), source, rotation=90)
        axes.set_yticks(range(len(target)), target if number == 0 else [""] * len(target))
        if len(heads) > 1:
            axes.set_title(f"head {number}")
    if path is not None:
        figure.savefig(path)
    return figure


def _heads(scores: Tensor, sources: int, targets: int) -> np.ndarray:
    import keras

    heads = np.asarray(keras.ops.convert_to_numpy(scores), "float32")
    heads = heads[None] if heads.ndim == 2 else heads
    if heads.ndim != 3 or heads.shape[1:] != (targets, sources):
        raise ValueError(
            f"`scores` must have the shape (targets, sources) = ({targets}, {sources}) or (heads, "
            f"{targets}, {sources}), received {tuple(np.shape(scores))}. Give the scores of one "
            "example, and as many tokens as there are."
        )
    return heads
