"""Values that pass unchanged, and gradients that do not: stop, scale, reverse.

    y = s + λ·(x − s),        s = x held constant,

has the value of x, since x − s is zero, and the gradient λ: nothing goes back at λ = 0, the
opposite at λ = −1. Written so, it needs no operation of its own on any backend, works on symbolic
tensors of a functional model, and can be differentiated twice.

λ < 0 is the gradient reversal of domain adaptation: a classifier of the domain learns behind it,
and the features before it learn to fool that classifier (Ganin and Lempitsky 2015,
https://arxiv.org/abs/1409.7495). The value is exact wherever x is finite.
"""

from keras import ops

from kooler.core.types import Tensor


def stop_gradient(x: Tensor) -> Tensor:
    """The same value, through which no gradient goes back.

    Args:
        x: Tensor of any type and shape, or a symbolic one.

    Example:
        >>> targets = stop_gradient(teacher(x))
    """
    return ops.stop_gradient(x)


def scale_gradient(x: Tensor, scale: float | Tensor) -> Tensor:
    """The same value, with the gradient multiplied.

    Args:
        x: Floating-point tensor of any shape, or a symbolic one.
        scale: What the gradient is multiplied by; 0 stops it, 1 changes nothing. A number, or a
            tensor that broadcasts against `x` without making it larger, and gets no gradient.

    Raises:
        TypeError: `x` is not of a floating-point type, so it has no gradient.

    Example:
        >>> h = scale_gradient(encoder(x), 0.1)  # the encoder learns ten times slower under SGD
    """
    if "float" not in str(x.dtype):
        raise TypeError(
            f"A gradient can be scaled only for floating-point tensors, received one of type "
            f"{x.dtype}. Cast it first, or leave it as it is: it has no gradient."
        )
    held = ops.stop_gradient(x)
    if isinstance(scale, int | float):
        return held + (x - held) * float(scale)
    return held + (x - held) * ops.stop_gradient(ops.cast(scale, held.dtype))


def reverse_gradient(x: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """The same value, with the gradient multiplied by `-scale`.

    Args:
        x: Floating-point tensor of any shape, or a symbolic one.
        scale: How strongly what lies before works against what comes after.

    Example:
        >>> domain = domain_classifier(reverse_gradient(features, 0.3))
    """
    return scale_gradient(x, -scale)
