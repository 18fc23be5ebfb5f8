"""Names of tensors inside of a model, and which there are.

A name is the path of layer names below the model, without the model's own name:

    inner/attend            the output of the layer `attend` in the layer `inner`
    inner/attend.scores     the local variable `scores` of its `call`
    inner/attend#1          its second call; inner/attend is the first, and inner/attend#* all
    probabilities           what `tap(tensor, "probabilities")` named, wherever that stands

`*` matches within one segment of a path: "block_*/attend.scores". A local variable that is assigned
several times has several values, numbered like calls. The operations of a functional model
(`x * 2` is called "multiply") have names as layers do; `.scores` alone is a local variable of the
`call` of the model itself.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from kooler.core import compat
from kooler.core.hooks import plain_call
from kooler.models.local_variables import assigned_names

NEAREST_SHOWN = 5


def names(model: Any) -> list[str]:
    """Prints the tree of what `Capture` can reach in a model, and returns the names.

    Names given by `tap` are not among them: they are known only once a layer runs.

    Args:
        model: A Keras model or layer whose layers exist, that is, one that is built.

    Returns:
        The names of all outputs and local variables, in the order of the printed tree.

    Example:
        >>> names(model)
        block
          attend  .query .scores
          feed_forward
        ['block', 'block/attend', 'block/attend.query', 'block/attend.scores', …]
    """
    found: list[str] = []
    for path, layers in layers_of(model).items():
        local = [name for layer in layers for name in local_variables(layer)]
        variables = list(dict.fromkeys(f".{name}" for name in local))
        found += [name for name in [path, *(path + variable for variable in variables)] if name]
        if path or variables:
            indent, name = "  " * path.count("/"), path.rpartition("/")[2]
            print(f"{indent}{name}  {' '.join(variables)}".rstrip())
    return found


def layers_of(model: Any) -> dict[str, list[Any]]:
    """All layers and operations below a model by their paths, the model itself by "".

    Several have the same path where siblings have the same name.
    """
    found: dict[str, list[Any]] = {"": [model]}
    for path, layer in _below(model, "", [model]):
        same = found.setdefault(path, [])
        if not any(layer is one for one in same):
            same.append(layer)
    return found


def local_variables(layer: Any) -> list[str]:
    """The local variables of the `call` of a layer; those of Keras's own models say nothing."""
    call = plain_call(layer)
    if isinstance(layer, keras.Model) and getattr(call, "__module__", "").startswith("keras."):
        return []
    return assigned_names(call)


def nearest(name: str, known: Iterable[str]) -> str:
    """The names most like one that was not found, for an error message."""
    near = difflib.get_close_matches(name, list(known), NEAREST_SHOWN, cutoff=0.0)
    return ", ".join(map(repr, near)) if near else "none"


class Pattern:
    """A name of a tensor, perhaps with `*` in it, as a user writes it.

    Args:
        text: For instance "block_*/attend.scores#1".
    """

    def __init__(self, text: Any) -> None:
        if not isinstance(text, str) or not text:
            raise TypeError(
                f"A tensor name is a string such as 'block/attend.scores', received {text!r}. "
                "`kooler.models.names(model)` lists those of a model."
            )
        self.text = text
        numbered = re.fullmatch(r"(.+)#(\d+|\*)", text)
        self.base, number = numbered.groups() if numbered else (text, "0")
        self.index = None if number == "*" else int(number)
        self.many = "*" in text
        self.exact = f"{self.base}#{self.index}" if self.index else self.base

    def finds(self, base: str) -> bool:
        """Whether the whole name without its number is meant; `*` stops at "/"."""
        return _glob(self.base, base)

    def finds_output(self, path: str) -> bool:
        """Whether the output of the layer with this path is meant."""
        return bool(path) and _glob(self.base, path)

    def finds_local(self, path: str, variable: str) -> bool:
        """Whether a local variable of the layer with this path is meant."""
        layer, dot, own = self.base.rpartition(".")
        return bool(dot) and _glob(layer, path) and _glob(own, variable)

    def may_be_local_of(self, path: str) -> bool:
        """Whether any local variable of the layer with this path is meant."""
        layer, dot, own = self.base.rpartition(".")
        return bool(dot) and "/" not in own and _glob(layer, path)

    def counts(self, number: int) -> bool:
        """Whether the value with this number is meant."""
        return self.index is None or self.index == number


def _below(layer: Any, path: str, above: list[Any]) -> Iterator[tuple[str, Any]]:
    for child in _children(layer):
        if any(child is one for one in above):
            continue
        below = f"{path}/{child.name}" if path else child.name
        yield below, child
        yield from _below(child, below, [*above, child])


def _children(layer: Any) -> list[Any]:
    functional = isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential)
    operations = getattr(layer, "operations", ()) if functional else ()
    found: list[Any] = []
    for child in [*operations, *compat.sublayers(layer)]:
        known = isinstance(child, keras.layers.InputLayer) or any(child is one for one in found)
        if not known:
            found.append(child)
    return found


def _glob(pattern: str, text: str) -> bool:
    return re.fullmatch("[^/]*".join(map(re.escape, pattern.split("*"))), text) is not None
