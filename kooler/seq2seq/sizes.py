"""Sizes of the network, and what they cost; known before Keras is there.

With D the width, F the feed-forward width, L the layers and V the vocabulary, a network has

    L · (encoder layer + decoder layer) + V·D + 2·D            weights,
    encoder layer  =  4·D² + 2·D·F + 9·D + F,
    decoder layer  =  8·D² + 2·D·F + 15·D + F:

attention has four D × D projections with their biases, and each part its layer normalisation.
"""

from collections.abc import Mapping
from typing import Any

SIZES = {
    "tiny": {"layers": 4, "width": 128, "heads": 4, "feedforward": 256},
    "small": {"layers": 4, "width": 256, "heads": 4, "feedforward": 1024},
    "base": {"layers": 6, "width": 512, "heads": 8, "feedforward": 2048},
}
POSITIONS = 4096  # rows of the position table


def dimensions_of(size: str, given: Mapping[str, Any]) -> dict[str, int]:
    """The dimensions of a size, with those that are given in their place.

    Args:
        size: "tiny", "small" or "base".
        given: Layers, width, heads, feedforward; what is missing or None is that of the size.

    Raises:
        ValueError: If the heads do not divide the width.
    """
    own = {name: value for name in SIZES[size] if (value := given.get(name)) is not None}
    dimensions = SIZES[size] | own
    if dimensions["width"] % dimensions["heads"]:
        raise ValueError(
            f"`heads` must divide `width`, received heads={dimensions['heads']}, "
            f"width={dimensions['width']} (size={size} sets what is not given). "
            "Choose a width that is a multiple of the heads."
        )
    return dimensions


def weights_of(dimensions: Mapping[str, int], vocabulary: int) -> int:
    """The number of weights of a post-norm network with one vocabulary and no copy prior."""
    width, hidden = dimensions["width"], dimensions["feedforward"]
    encoder = 4 * width**2 + 2 * width * hidden + 9 * width + hidden
    decoder = 8 * width**2 + 2 * width * hidden + 15 * width + hidden
    return dimensions["layers"] * (encoder + decoder) + (vocabulary + 2) * width


def sizes_in_words(vocabulary: int) -> str:
    """What each size means, for `--help`.

    Example:
        >>> sizes_in_words(8000)
        'tiny (4 layers, width 128, 2.4 M weights), small …'
    """
    return ", ".join(
        f"{name} ({dimensions['layers']} layers, width {dimensions['width']}, "
        f"{weights_of(dimensions, vocabulary) / 1e6:.1f} M weights)"
        for name, dimensions in SIZES.items()
    )
