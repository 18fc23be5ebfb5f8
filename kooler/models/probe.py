"""What stands in a model while its tensors are captured: hooks that show a record what passes.

A `Probe` knows which tensors of a model are wanted and which are to be replaced, and where they
come from. `with probe.running() as record:` puts the hooks into the model, for this thread, until
the block ends. The values pass while a backend traces the model, so nothing of this remains in
the compiled program but the tensors themselves.

The cell of an RNN runs inside of a loop of the backend, out of which no value leads. So the RNN is
unrolled meanwhile (`open_calls.py`).
"""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from kooler.core import compat
from kooler.core.hooks import hooked, plain_call, replaced
from kooler.core.types import Tensor
from kooler.models.local_variables import rewritten
from kooler.models.open_calls import unrolled, with_scores
from kooler.models.record import Record, is_tensor, listening
from kooler.models.tensor_names import Pattern, layers_of, local_variables, nearest

SCORES = {"attention_scores", "scores"}  # what Keras's attention layers call them

Place = tuple[int, str | None]
"""Where values come from: the id of a layer, and the local variable or None for the output."""


class Probe:
    """Which tensors of a model are wanted, and where they come from.

    Args:
        model: A Keras model or layer.
        wanted: Names to keep.
        patches: Names to replace, with what.

    Raises:
        ValueError: A name means a local variable that is not there, a layer that shares its path
            with another, or a place that no value can leave.
    """

    def __init__(
        self, model: Any, wanted: Sequence[Pattern], patches: Sequence[tuple[Pattern, Any]]
    ) -> None:
        self.wanted = wanted
        self.patches = patches
        self.table = layers_of(model)
        self._local = threading.local()
        self._names: dict[Place, list[str]] = {}  # where → what it is called
        self._layers: dict[int, Any] = {}
        self._unrolled: dict[int, Any] = {}
        for pattern in [*wanted, *(pattern for pattern, _ in patches)]:
            self._find(pattern)
        self._outputs = {
            self._layers[layer]: functools.partial(self._watch_output, (layer, None))
            for layer, variable in self._names
            if variable is None
        }
        self._calls = {layer: self._call_of(layer) for layer in self._layers_with_other_calls()}

    @contextmanager
    def running(self, added: Mapping[str, Tensor] | None = None) -> Iterator[Record]:
        """Puts the hooks into the model while the block runs, in this thread."""
        record = Record(self.wanted, self.patches, added or {})
        before = self._record
        self._local.record = record
        try:
            with listening(record), hooked(self._outputs), replaced(self._calls):
                yield record
        finally:
            self._local.record = before

    def check(self, record: Record) -> None:
        """Raises an error if a name was not seen, or its value cannot leave the place it is in."""
        for pattern in [*self.wanted, *(pattern for pattern, _ in self.patches)]:
            if pattern.text not in record.applied:
                raise ValueError(self._not_seen(pattern, record))
        for name, value in record.values.items():
            if not is_tensor(value):
                raise ValueError(
                    f"The value of {name!r} is {value!r}, not a tensor, so it cannot be captured."
                )
            if name in record.elsewhere:
                raise ValueError(
                    f"{name!r} is computed inside of a loop (`scan`, `while_loop`), a branch "
                    "(`cond`) or a part that is recomputed (`remat`), out of which no value leads. "
                    "Capture something outside of it. The cell of an `RNN` is reached, because its "
                    "layer is unrolled meanwhile."
                )

    @property
    def _record(self) -> Any:
        return getattr(self._local, "record", None)

    # Where the wanted values come from.

    def _find(self, pattern: Pattern) -> None:
        for path, layers in self.table.items():
            if pattern.finds_output(path):
                self._add(path, layers, None)
            if pattern.may_be_local_of(path) and path + "." != pattern.base:
                self._add_locals(pattern, path, layers)

    def _add_locals(self, pattern: Pattern, path: str, layers: list[Any]) -> None:
        known = [name for layer in layers for name in local_variables(layer)]
        found = [name for name in known if pattern.finds_local(path, name)]
        if not found and not pattern.many:
            raise ValueError(
                f"{pattern.text!r} names no local variable of the `call` of layer {path!r}. "
                f"It assigns: {', '.join(map(repr, dict.fromkeys(known))) or 'none'}. Name any "
                "other tensor with `tap(tensor, name)` in it."
            )
        for variable in found:
            self._add(path, layers, variable)

    def _add(self, path: str, layers: list[Any], variable: str | None) -> None:
        if len(layers) > 1:
            raise ValueError(
                f"{len(layers)} layers have the path {path!r}, so the name is ambiguous. Give them "
                "different names when they are made."
            )
        name = path if variable is None else f"{path}.{variable}"
        names = self._names.setdefault((id(layers[0]), variable), [])
        if name not in names:
            names.append(name)
        self._layers[id(layers[0])] = layers[0]
        self._check_way_out(name, path)

    def _check_way_out(self, name: str, path: str) -> None:
        """Looks at the layers around: is one recomputed, must one be unrolled?"""
        parts = path.split("/")
        around = [self.table["/".join(parts[: depth + 1])][0] for depth in range(len(parts))]
        recomputed = [layer.name for layer in around if compat.is_recomputed(layer)]
        if recomputed:
            raise ValueError(
                f"{name!r} is computed inside of {recomputed[0]!r}, a layer that is recomputed in "
                "the backward pass (`remat`), out of which no value leads. Make the layer outside "
                "of the `RematScope`, or capture something around it."
            )
        for layer in around[:-1]:
            if isinstance(layer, keras.layers.RNN):
                self._unrolled[id(layer)] = layer

    # What runs in place of a `call`.

    def _layers_with_other_calls(self) -> list[Any]:
        with_variables = [self._layers[layer] for layer, variable in self._names if variable]
        return list({id(one): one for one in [*with_variables, *self._unrolled.values()]}.values())

    def _call_of(self, layer: Any) -> Callable[..., Any]:
        call = plain_call(layer)
        variables = [variable for one, variable in self._names if one == id(layer) and variable]
        if variables:
            call = rewritten(call, variables, functools.partial(self._watch_local, id(layer)))
        if SCORES & set(variables):
            call = with_scores(call)
        return unrolled(call, layer) if id(layer) in self._unrolled else call

    def _watch_output(self, place: Place, call: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        return self._watch(place, call(*args, **kw))

    def _watch_local(self, layer: int, value: Any, variable: str) -> Any:
        return self._watch((layer, variable), value)

    def _watch(self, place: Place, value: Any) -> Any:
        return self._record.visit(place, self._names[place], value)

    def _not_seen(self, pattern: Pattern, record: Record) -> str:
        known = {name for name in record.names if pattern.finds(name.partition("#")[0])}
        if known:
            return f"{pattern.text!r} was not computed; there were only {sorted(known)}."
        if pattern.base in self.table:
            return (
                f"The layer {pattern.base!r} was not called, so it has no output to capture. Only "
                "what the `call` of the model reaches can be captured."
            )
        names = [*record.names, *self.table]
        return (
            f"Nothing in the model is called {pattern.text!r}. The nearest names: "
            f"{nearest(pattern.text, sorted(set(names) - {''}))}. "
            "`kooler.models.names(model)` lists them all."
        )
