"""One weight that is computed: what stands in its place, and how it comes and goes.

The attribute of the layer that held the variable holds a `DerivedVariable` instead, which asks here
for its value. The value is computed by a hook around the `call` of the layer, once for all uses in
it; outside of any call it is computed when it is asked for.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.hooks import HookHandle, hook
from kooler.core.types import Tensor
from kooler.layers.originals import Originals, parametrized_in
from kooler.layers.parametrization import Chain, Parametrization
from kooler.layers.plain_files import patch, unpatch
from kooler.layers.quantised import already_quantised, is_quantised


class ParametrizedWeight:
    """One weight that is computed: what belongs to it, and how it comes and goes.

    To make one changes nothing yet, and raises whatever there is to be raised; `install` does it.

    Args:
        model: Where it is to be found.
        weight: The plain variable, which holds the last original if that has its shape; or the
            parametrised weight that this one takes the place of.
        parts: The parametrizations, the first next to the originals.
    """

    def __init__(self, model: Any, weight: Any, parts: list[Parametrization]) -> None:
        layers = [one for one in compat.flat_layers(model) if not isinstance(one, Originals)]
        self._before = weight if isinstance(weight, ParametrizedWeight) else None
        if self._before is None:
            self.variable = weight
            self.owner = next(one for one in layers if holds(compat.own_variables(one), weight))
            self.index = _position(compat.made_trainable(self.owner), weight)
            self.regularizer = weight.regularizer
            self.places = _places(layers, weight)
        else:
            for name in ("variable", "owner", "index", "regularizer", "places"):
                setattr(self, name, getattr(weight, name))
        self.dtype = keras.backend.standardize_dtype(self.variable.dtype)
        self._check()
        self.parts = parts
        self._chain = Chain(parts).for_variable(self.owner, self.variable)
        self._entries = {id(one): one for one in (_entry(layers, at) for at, _ in self.places)}
        self._handles: list[HookHandle] = []
        self._first = self._first_values(weight.derived if self._before else weight)

    def install(self) -> None:
        """Puts it into its layer."""
        if self._before is not None:
            self._before.remove()
        self._before = None
        self._make_originals(*self._first)
        del self._first
        self._put_in_place()

    def sources(self) -> dict[str, Any]:
        """Name → variable, of all originals and all state."""
        return {**self._originals, **self._state}

    def value(self) -> Tensor:
        """The weight: as computed for the running call of its layer, or now."""
        cached = _running.values.get(id(self))
        return self._compute(False) if cached is None else cached

    def assign(self, weight: Tensor) -> None:
        """Sets the originals and the state as `right_inverse` and `initial_state` say."""
        state = self._chain.initial_state(weight)
        values = _as_tuple(self._chain.right_inverse(weight))
        for variable, value in zip(self._originals.values(), values, strict=True):
            variable.assign(value)
        for name, value in state.items():
            self._state[name].assign(value)

    def remove(self) -> None:
        """Gives the weight back to its layer, as a plain variable with the present value."""
        value = self._compute(False)
        for handle in self._handles:
            handle.remove()
        for layer, name in self.places:
            layer.__dict__[name] = self.variable
        compat.remove_sublayer(self.owner, self._layer.name)
        if not parametrized_in(self.owner, below=False):
            unpatch(self.owner)
        if not self._reused:
            compat.track_variable(self.owner, self.variable, self.index)
        self.variable.regularizer = self.regularizer
        self.variable.assign(value)

    @contextlib.contextmanager
    def listed(self) -> Iterator[None]:
        """Meanwhile the layer saves and loads the weight, where a plain layer has it."""
        with compat.listed(self.owner, self.index, self.derived, replace=self._reused):
            yield

    def _check(self) -> None:
        path, layer = self.variable.path, self.owner
        if not self.places:
            raise ValueError(
                f"The layer {layer.name!r} does not hold {path!r} as an attribute, so nothing can "
                "be put in its place. Make it an attribute of its own (`self.kernel = …`)."
            )
        if is_quantised(layer):
            raise already_quantised(layer, path)
        if getattr(layer, "lora_enabled", False):
            raise ValueError(
                f"The layer {layer.name!r} has LoRA, which keeps {path!r} frozen. Reparametrise "
                "the LoRA matrices themselves, or do it before `enable_lora`."
            )
        if self.variable.constraint is not None:
            raise ValueError(
                f"{path!r} has a constraint, which would act on the original and not on the "
                "weight. Make the layer without the constraint."
            )

    def _first_values(self, variable: Any) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """The originals and the state that make the weight that is there now."""
        weight = ops.convert_to_tensor(variable)
        values = _as_tuple(self._chain.right_inverse(weight))
        state = self._chain.initial_state(weight)
        made = self._chain.forward(*values, **state)
        if tuple(made.shape) != tuple(weight.shape):
            raise ValueError(
                f"The parametrization of {self.variable.path!r} gives a weight of shape "
                f"{tuple(made.shape)}; its layer needs {tuple(weight.shape)}."
            )
        return values, state

    def _make_originals(self, values: tuple[Tensor, ...], state: dict[str, Tensor]) -> None:
        names = [f"original_{number}" for number in range(len(values))]
        self._reused = tuple(values[-1].shape) == tuple(self.variable.shape)
        new = list(zip(names, values, strict=True))[: -1 if self._reused else None]
        fresh = {name: (value, True) for name, value in new}
        fresh |= {name: (value, False) for name, value in state.items()}
        trainable = self.variable.trainable
        with _scope_of(self.variable):
            self._layer = Originals(self, fresh)
        held = {variable.name: variable for variable in self._layer.weights}
        if self._reused:
            held[names[-1]] = self.variable
            self.variable.assign(values[-1])
        self._originals = {name: held[name] for name in names}
        self._state = {name: held[name] for name in state}
        for original in self._originals.values():
            original.trainable = trainable

    def _put_in_place(self) -> None:
        originals = list(self._originals.values())
        self.derived = compat.DerivedVariable(self.variable, self.value, self.assign, originals)
        for layer, name in self.places:
            layer.__dict__[name] = self.derived
        if not self._reused:
            compat.untrack_variable(self.owner, self.variable)
        compat.add_sublayer(self.owner, self._layer.name, self._layer)
        regularizer = self.regularizer
        if regularizer is not None:
            self.variable.regularizer = None
            originals[-1].regularizer = lambda _: regularizer(self.derived)
        patch(self.owner)
        for entry in self._entries.values():
            self._handles.append(hook(entry, self._once))

    def _once(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Stands around the layer's `call`: computes the weight, once for all uses in it."""
        before = _running.values
        _running.values = {**before, id(self): self._compute(compat.is_training())}
        try:
            return call(*args, **kwargs)
        finally:
            _running.values = before

    def _compute(self, training: bool) -> Tensor:
        with compat.autocast(self.dtype):
            originals = [ops.convert_to_tensor(one) for one in self._originals.values()]
            state = self._present_state(originals, training) if self._state else {}
            return self._chain.forward(*originals, **state)

    def _present_state(self, originals: list[Tensor], training: bool) -> dict[str, Tensor]:
        kept = {name: ops.stop_gradient(ops.copy(one)) for name, one in self._state.items()}
        fixed = [ops.stop_gradient(original) for original in originals]
        state = {
            n: ops.stop_gradient(v)
            for n, v in self._chain.update(kept, *fixed, training=training).items()
        }
        for name, value in state.items() if training else ():
            self._state[name].assign(value)
        return state


def _places(layers: list[Any], variable: Any) -> list[tuple[Any, str]]:
    """Where a variable is an attribute: layer and name."""
    return [
        (layer, name)
        for layer in layers
        for name, value in layer.__dict__.items()
        if value is variable
    ]


def _entry(layers: list[Any], layer: Any) -> Any:
    """The layer whose call computes the weight: for a cell, the RNN that loops over it."""
    for outer in layers:
        if isinstance(outer, keras.layers.RNN) and holds(compat.flat_layers(outer), layer):
            return outer
    return layer


def _scope_of(variable: Any) -> contextlib.ExitStack:
    """The name scopes in which a variable was made, so that new paths begin as its own."""
    scopes = contextlib.ExitStack()
    for name in variable.path.split("/")[:-1]:
        scopes.enter_context(keras.name_scope(name))
    return scopes


def _position(variables: list[Any], variable: Any) -> int:
    return next(index for index, one in enumerate(variables) if one is variable)


def holds(things: Sequence[Any], thing: Any) -> bool:
    """Whether a thing itself, not an equal one, is among others."""
    return any(thing is one for one in things)


def _as_tuple(originals: Any) -> tuple[Tensor, ...]:
    return tuple(originals) if isinstance(originals, tuple | list) else (originals,)


class _Running(threading.local):
    """The weights that are computed for the layers that run now in this thread, by id."""

    def __init__(self) -> None:
        self.values: dict[int, Tensor] = {}


_running = _Running()
