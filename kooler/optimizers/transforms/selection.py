"""A transform for some of the gradients: each its own clipping, as in the series.

    GradientTransform("adam", only("embedding", clip_by_l1_norm(1.0)), only("head", my_function))

(Su Jianlin, https://kexue.fm/archives/6418, where `get_gradients` of an optimizer is overwritten.)
What is not selected passes through.
"""

from collections.abc import Sequence
from typing import Any

from kooler.core import selectors
from kooler.core.types import Tensor
from kooler.optimizers.transforms.nonfinite import SkipNonfinite
from kooler.optimizers.transforms.transform import Transform, as_config


def only(selector: Any, transform: Any) -> Transform:
    """Applies a transform to the gradients of selected variables.

    Args:
        selector: A layer, a variable, a regular expression, or a list of these.
        transform: One of this library's, or any function `f(gradients, variables) → gradients`.

    Raises:
        ValueError: When it first sees the variables: the selector matches nothing.
    """
    if not callable(transform):
        raise TypeError(
            "`only` needs a transform, f(gradients, variables) → gradients, received "
            f"{transform!r} of type {type(transform).__name__}."
        )
    if isinstance(transform, SkipNonfinite):
        raise ValueError(
            "`skip_nonfinite` skips whole steps, so it cannot be for some gradients only. Put it "
            "beside `only`, or use `zero_nans` inside."
        )
    return _Only(selector, transform)


class _Only(Transform):
    def __init__(self, selector: Any, transform: Any) -> None:
        super().__init__("only", {"selector": selector, "transform": transform}, self._apply)
        self.selector = selector
        self.inner = transform
        self._known: list[Any] = []
        self._selected: set[int] | None = None

    @property
    def state(self) -> list[Any]:
        return self.inner.state if isinstance(self.inner, Transform) else []

    def bind(self, model: Any) -> None:
        """Tells the transform inside."""
        if isinstance(self.inner, Transform):
            self.inner.bind(model)

    def build(self, variables: Sequence[Any]) -> None:
        """Resolves the selector."""
        self._known = selectors.select(self.selector, variables)
        self._selected = {id(variable) for variable in self._known}
        if isinstance(self.inner, Transform):
            self.inner.build(self._known)

    def get_config(self) -> dict[str, Any]:
        selector = selectors.as_config(self.selector, self._known)
        arguments = {"selector": selector, "transform": as_config(self.inner)}
        return {"transform": "only", "arguments": arguments}

    def _apply(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        selected = self._selected
        if selected is None:
            selected = {id(v) for v in selectors.select(self.selector, variables)}
        chosen = [(g, v) for g, v in zip(gradients, variables, strict=True) if id(v) in selected]
        if not chosen:
            return list(gradients)
        new = iter(self.inner([g for g, _ in chosen], [v for _, v in chosen]))
        return [
            next(new) if id(v) in selected else g for g, v in zip(gradients, variables, strict=True)
        ]
