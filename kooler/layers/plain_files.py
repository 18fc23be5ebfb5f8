"""A layer with reparametrised weights is saved and loaded as a plain one.

Keras asks a layer itself to write and to read its variables. While it does, the computed weights
are listed where a plain layer has its own: so a file looks the same for both, and what is read is
assigned through the right inverse. The methods are exchanged on the instance; class and config
stay as they are.
"""

import contextlib
import functools
from typing import Any

from kooler.layers.originals import parametrized_in
from kooler.layers.quantised import not_to_be_quantised

METHODS = ("save_own_variables", "load_own_variables", "quantize")


def patch(owner: Any) -> None:
    """Lets a layer save and load what it computes, and refuse to be quantised."""
    for method in METHODS:
        if not isinstance(owner.__dict__.get(method), _Patched):
            owner.__dict__[method] = _Patched(owner, method)


def unpatch(owner: Any) -> None:
    """Gives a layer its own methods back."""
    for method in METHODS:
        before = owner.__dict__.pop(method).before
        if before is not None:
            owner.__dict__[method] = before


class _Patched:
    """Stands in the place of a method of a layer that has reparametrised weights."""

    def __init__(self, owner: Any, method: str) -> None:
        self.owner = owner
        self.method = method
        self.before = owner.__dict__.get(method)  # Keras wraps some methods on the instance

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        if self.method == "quantize":
            raise not_to_be_quantised(self.owner)
        weights = sorted(parametrized_in(self.owner, below=False), key=lambda one: one.index)
        with contextlib.ExitStack() as stack:
            for parametrized in weights:
                stack.enter_context(parametrized.listed())
            plain = self.before or functools.partial(
                getattr(type(self.owner), self.method), self.owner
            )
            plain(*args, **kwargs)
