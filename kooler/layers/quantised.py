"""Quantised layers and reparametrised weights exclude each other; both are told so.

A quantised layer holds its weights as small integers, which nothing can train, and runs another
method than `call`. So one either trains with computed weights or runs with quantised ones, and the
way from the first to the second is `merge`.
"""

from typing import Any


def is_quantised(layer: Any) -> bool:
    """Whether a layer holds its weights as small integers."""
    return getattr(layer, "quantization_mode", None) is not None


def already_quantised(layer: Any, path: str) -> ValueError:
    """What an attempt to reparametrise a weight of a quantised layer is told."""
    return ValueError(
        f"The layer {layer.name!r} is quantised, so {path!r} cannot be reparametrised. "
        "Reparametrise first, then `merge`, then quantise; or select weights of other layers only."
    )


def not_to_be_quantised(layer: Any) -> ValueError:
    """What an attempt to quantise a layer with reparametrised weights is told."""
    return ValueError(
        f"The layer {layer.name!r} has reparametrised weights, which cannot be quantised. "
        "Call `kooler.layers.merge(model)` first."
    )
